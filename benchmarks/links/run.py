"""The links stage against `zstd -dc --long=31 | wc -l` and an orjson loop; its memory and index by size.

    python -m benchmarks.links.run ../shared/data/reddit/RS_2013-08.zst     # about two minutes
    python -m benchmarks.links.run --index 0.5 1 2 4                        # millions of links
    python -m benchmarks.links.run RS_2013-08.zst --workers 1 2 --before CHECKOUT

The dump is repeated, each time with ids of its own and as a zstd frame of its own, so that the repeats do not
shrink to references to the first. All contenders run on one core, in turn, each as a process whose whole CPU
time counts, start-up included. The `zstd` command must be installed; orjson is put into --peers.

With --workers, `outbound corpus add --until links` reads several dumps of so many gigabytes together, on all
cores, by so many workers. --before runs the same command of another checkout, in turn with ours.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd

from benchmarks.measure import Run, middle, run

PEERS = Path(__file__).parent / "peers"
ORJSON = "orjson==3.11.4"
ZSTD, OURS, LOOP = "zstd -dc --long=31, wc -l", "ours", "orjson loop"
WRITE = {zstd.CompressionParameter.window_log: 31, zstd.CompressionParameter.compression_level: 9}
READ = {zstd.DecompressionParameter.window_log_max: 31}
URLS_PER_SITE = 20


def main() -> None:
    """Run the chosen benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dump", type=Path, nargs="?", help="a .zst dump to repeat")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of text, at least")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--core", type=int, default=-1, help="the how manyth of ours to run on")
    parser.add_argument("--peers", type=Path, default=Path(".peers-links"), help="where orjson is, or goes")
    parser.add_argument("--index", type=float, nargs="+", metavar="MILLIONS", help="measure sizes instead")
    parser.add_argument("--workers", type=int, nargs="+", help="compare these numbers of processes instead")
    parser.add_argument("--dumps", type=int, default=4, help="of --workers")
    parser.add_argument("--before", type=Path, help="a checkout of another version, of --workers")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if chosen.index:
            sizes([int(millions * 1e6) for millions in chosen.index], chosen.core, Path(directory))
        elif chosen.dump and chosen.workers:
            dumps = [Path(directory) / f"RS_{number}.zst" for number in range(chosen.dumps)]
            for number, dump in enumerate(dumps):
                repeat(chosen.dump, chosen.gigabytes * 1e9 / len(dumps), dump, number)
            versions = {"before": chosen.before, "after": Path(__file__).parents[2]}
            scale(dumps, versions, chosen.workers, chosen.repeats, Path(directory))
        elif chosen.dump:
            compare(chosen.dump, chosen.gigabytes, chosen.repeats, chosen.core, chosen.peers, Path(directory))
        else:
            parser.error("a dump or --index is needed")


def compare(source: Path, gigabytes: float, repeats: int, core: int, peers: Path, directory: Path) -> None:
    """Print speed and memory of every contender, and ours as a ratio to each."""
    if not peers.exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", peers, ORJSON], check=True)
    os.environ["PYTHONPATH"] = f"{peers.resolve()}:{os.environ.get('PYTHONPATH', '')}"
    dump = directory / "repeated.zst"
    text_bytes = repeat(source, gigabytes * 1e9, dump)
    runs: dict[str, list[Run]] = {ZSTD: [], OURS: [], LOOP: []}
    for number in range(repeats):
        commands = {
            ZSTD: ["sh", "-c", f"zstd -dcq --long=31 {dump} | wc -l > {directory}/lines"],
            OURS: [sys.executable, PEERS / "ours.py", directory / f"corpus-{number}", "one", dump],
            LOOP: [sys.executable, PEERS / "orjson_loop.py", dump, directory / "loop.parquet"],
        }
        for name, command in commands.items():
            runs[name].append(run(command, core))
    ours = pa.concat_tables(
        map(pq.read_table, sorted(directory.glob("corpus-0/increments/*/links/*.parquet")))
    )
    if not ours.equals(pq.read_table(directory / "loop.parquet")):
        raise SystemExit("the orjson loop makes other links")
    print(f"{text_bytes / 1e9:.2f} GB of text, {int((directory / 'lines').read_text()):,} submissions,")
    print(f"{ours.num_rows:,} links; medians of {repeats} runs in turn, on one core\n")
    print("| | CPU s | wall s | MB/s of CPU | peak MB | speed against ours |")
    print("|---|---|---|---|---|---|")
    own = middle(runs[OURS], "cpu_s")
    for name, taken in runs.items():
        cpu, wall = middle(taken, "cpu_s"), middle(taken, "wall_s")
        peak = max(each.peak_bytes for each in taken)
        print(
            f"| {name} | {cpu:.2f} | {wall:.2f} | {text_bytes / cpu / 1e6:.0f} | {peak / 1e6:.0f} "
            f"| {own / cpu:.2f} |"
        )


def scale(
    dumps: list[Path], versions: dict[str, Path | None], workers: list[int], repeats: int, directory: Path
) -> None:
    """Print what each version takes with each number of workers, and its speed against the first."""
    runs: dict[tuple[str, int], list[Run]] = {}
    made = set[int]()
    for turn in range(repeats):
        for version, checkout in versions.items():
            for number in workers if checkout else []:
                corpus = directory / f"{turn}-{version}-{number}"
                outbound = [sys.executable, "-P", "-m", "pipeline.cli.main", "corpus"]
                os.environ["PYTHONPATH"] = str(checkout)
                run([*outbound, "init", corpus, "--recipe", "webtext"])
                add = [*outbound, "add", corpus, *dumps, "--until", "links", "--workers", str(number)]
                runs.setdefault((version, number), []).append(run(add, core=None))
                links = map(pq.read_table, sorted(corpus.glob("increments/*/links/*.parquet")))
                made.add(hash(str(pa.concat_tables(links)["url_key"].to_pylist())))
    if len(made) > 1:
        raise SystemExit("the runs make other links")
    print("| | workers | CPU s | wall s, lowest to highest | peak MB of one process | speed |")
    print("|---|---|---|---|---|---|")
    first = middle(next(iter(runs.values())), "wall_s")
    for (version, number), taken in runs.items():
        walls = [each.wall_s for each in taken]
        print(
            f"| {version} | {number} | {middle(taken, 'cpu_s'):.1f} "
            f"| {middle(taken, 'wall_s'):.1f} ({min(walls):.1f} to {max(walls):.1f}) "
            f"| {max(each.peak_bytes for each in taken) / 1e6:.0f} | {first / middle(taken, 'wall_s'):.2f} |"
        )


def sizes(counts: list[int], core: int, directory: Path) -> None:
    """Print what a month of so many new links costs, and then a month of a tenth of them."""
    print("| links | CPU s | wall s | peak MB | links MB | index MB | next month: CPU s | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for count in counts:
        corpus = directory / str(count)
        months = [(0, count), (count - count // 20, count + count // 20)]  # half of the second were seen
        taken = []
        for number, (start, end) in enumerate(months):
            dump = directory / f"{number}.zst"
            with zstd.open(dump, "wb") as file:
                file.writelines(submissions(start, end, number))
            taken.append(run([sys.executable, PEERS / "ours.py", corpus, f"m{number}", dump], core))
        links, index = (
            sum(path.stat().st_size for path in corpus.glob(pattern))
            for pattern in ("increments/0001-m0/links/*", "index/0001-*")
        )
        first, second = taken
        print(
            f"| {count:,} | {first.cpu_s:.1f} | {first.wall_s:.1f} | {first.peak_bytes / 1e6:.0f} "
            f"| {links / 1e6:.0f} | {index / 1e6:.0f} | {second.cpu_s:.1f} | {second.peak_bytes / 1e6:.0f} |",
            flush=True,
        )


def repeat(source: Path, size: float, path: Path, dump: int = 0) -> int:
    """Write a dump's text again and again until `size` bytes are reached; returns the bytes of text.

    dump: its number, since dumps share no id.
    """
    with zstd.open(source, "rb", options=READ) as file:
        text = file.read()
    written = 0
    with path.open("wb") as out:
        for number in range(int(size // len(text)) + 1):
            copy = re.sub(rb'"id":"(\w+)"', rb'"id":"%02d\1"' % (dump * 24 + number), text)
            out.write(zstd.compress(copy, options=WRITE))
            written += len(copy)
    return written


def submissions(start: int, end: int, month: int) -> Iterator[bytes]:
    """Lines of a dump, one URL each."""
    for number in range(start, end):
        yield (
            b'{"id":"%d%07d","created_utc":%d,"subreddit":"news","score":%d,"is_self":false,"over_18":false,'
            b'"url":"http://www.site-%d.com/2014/03/a-title-of-a-page-as-they-are-%x"}\n'
        ) % (month, number, 1_390_000_000 + number, number % 50, number // URLS_PER_SITE, number * 2654435761)


if __name__ == "__main__":
    main()
