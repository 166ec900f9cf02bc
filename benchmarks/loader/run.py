"""Our loader against nanoGPT's memmap, webdataset, litdata and mosaicml-streaming.

    python -m benchmarks.loader.run

All read the same tokens, T = 1,024 and B = 12, and hand over int64 inputs and targets. Each is a process of
its own on one core, in an environment of its own, one after the other in turn. It opens the data at a sample
deep in the run, which is the time to resume, and then reads; seconds are taken within the process, after its
imports. The files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import webdataset

from benchmarks.measure import peer_python, run
from dataprep.pack.manifest import FORMAT, Generation, Shard, Split, TokenizerIdentity
from dataprep.pack.packing import Layout
from dataprep.store.checksummed_json import dump
from dataprep.store.files import Output, hash_file

PEERS = Path(__file__).parent / "peers"
TORCH = "torch==2.13.0"
NEEDS = {
    "nanogpt": [TORCH, "numpy"],
    "webdataset": [TORCH, "webdataset==1.0.2"],
    "litdata": [TORCH, "litdata==0.2.76"],
    "streaming": [TORCH, "mosaicml-streaming==0.13.0"],
}
CONTENDERS = {
    "ours, shuffled one by one": (None, "ours.py", "1"),
    "ours, shuffled one by one, no stream hash": (None, "ours.py", "1 unhashed"),
    "ours, shuffled by blocks of 64": (None, "ours.py", "64"),
    "nanoGPT's memmap": ("nanogpt", "nanogpt_memmap.py", ""),
    "webdataset, our tars in file order": ("webdataset", "webdataset_tars.py", "blocks"),
    "webdataset, our tars, buffer of 1,000": ("webdataset", "webdataset_tars.py", "blocks shuffled"),
    "webdataset, one sequence a member": ("webdataset", "webdataset_tars.py", "sequences"),
    "litdata, TokensLoader": ("litdata", "litdata_tokens.py", ""),
    "mosaicml-streaming, MDS": ("streaming", "streaming_mds.py", ""),
}
CONTEXT, BATCH = 1024, 12


def main() -> None:
    """Write the tokens in every form, read them in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--blocks", type=int, default=64, help="of a million tokens")
    parser.add_argument(
        "--batches", type=int, default=2000, help="that are timed; slow contenders take fewer"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=Path(".peers-loader"), help="where they are, or go")
    parser.add_argument("--data", type=Path, help="keep the files there and take them again")
    chosen = parser.parse_args()
    pythons = {name: peer_python(chosen.peers / name, needs) for name, needs in NEEDS.items()}
    with tempfile.TemporaryDirectory() as temporary:
        directory = chosen.data or Path(temporary)
        if not (directory / "mds").exists():
            write(directory, chosen.blocks, pythons)
        compare(directory, chosen.batches, chosen.repeats, pythons)


def write(directory: Path, blocks: int, pythons: dict[str, Path]) -> None:
    """Write the same tokens as one file, as `outbound pack` has them, one sequence a member, by the peers."""
    directory.mkdir(parents=True, exist_ok=True)
    size = Layout().block_tokens
    stream = np.random.default_rng(0).integers(0, 50257, blocks * size).astype("<u2")
    stream.tofile(directory / "train.bin")
    (directory / "ours").mkdir()
    shards = []
    for number, shard in enumerate(np.split(stream, max(1, blocks // 16))):
        path = directory / "ours" / f"train-{number:05d}.tar"
        write_tar(path, np.split(shard, len(shard) // size))
        with tarfile.open(path) as tar:
            blocks_of = [(member.offset_data, member.size // 2) for member in tar]
        unread = Output(path=f"{path.stem}.npy", bytes=0, xxh3_128="")
        shards.append(
            Shard(
                tar=Output(path=path.name, bytes=path.stat().st_size, xxh3_128=hash_file(path)),
                table=unread,
                counts=unread,
                tokens=len(shard),
                documents=1,
                blocks=blocks_of,
            )
        )
    generation = Generation(
        format=FORMAT,
        number=1,
        build="",
        tokenizer=TokenizerIdentity(fingerprint="", vocab_size=50257, eot=50256),
        dtype="<u2",
        block_tokens=size,
        held_out=0,
        increments={},
        splits={"train": Split(tokens=len(stream), documents=1, unigram_entropy_nats=1.0, shards=shards)},
    )
    (directory / "ours" / "generation-1.json").write_bytes(dump(generation))
    (directory / "sequences").mkdir()
    rows = np.lib.stride_tricks.sliding_window_view(stream, CONTEXT + 1)[::CONTEXT]
    for number, part in enumerate(np.array_split(rows, max(1, blocks // 16))):
        write_tar(directory / "sequences" / f"train-{number:05d}.tar", part)
    for name, script in (("litdata", "litdata_tokens.py"), ("streaming", "streaming_mds.py")):
        subprocess.run([pythons[name], PEERS / script, directory, "write"], check=True)


def write_tar(path: Path, members: Any) -> None:
    """A webdataset tar, a member for each array."""
    with webdataset.TarWriter(str(path), user="", group="", mtime=0) as tar:
        for number, tokens in enumerate(members):
            tar.write({"__key__": f"{number:07d}", "bin": tokens.tobytes()})


def compare(directory: Path, batches: int, repeats: int, pythons: dict[str, Path]) -> None:
    """Print what each took, and ours as a ratio to it."""
    stream = (directory / "train.bin").read_bytes()
    deep = len(stream) // 2 // CONTEXT * 3 // 4 // BATCH * BATCH
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name, (peer, script, setting) in CONTENDERS.items():
            python = pythons[peer] if peer else sys.executable
            count = batches if peer != "streaming" and "member" not in name else batches // 10
            told = run([python, PEERS / script, directory, str(deep), str(count), setting])
            spent = json.loads(told.said.splitlines()[-1])
            row = np.array(spent["row"], "<u2").tobytes()
            assert any(stream.find(row, odd) % 2 == 0 for odd in (0, 1)), f"{name}: not of this stream"
            taken[name].append(
                {key: spent[key] / count for key in ("cpu", "wall")} | {"opened": spent["opened"]}
            )
    tokens = CONTEXT * BATCH
    middle = {
        name: {key: statistics.median(each[key] for each in runs) for key in ("cpu", "wall", "opened")}
        for name, runs in taken.items()
    }
    ours = next(iter(middle.values()))
    print(f"\n{len(stream) // 2:,} tokens, resumed at sample {deep:,}; medians of {repeats} runs\n")
    print(
        "| | Mtok/s of CPU | lowest and highest | Mtok/s of wall | its CPU / ours | to the first batch, ms |"
    )
    print("|---|---|---|---|---|---|")
    for name, each in middle.items():
        speeds = sorted(tokens / run["cpu"] / 1e6 for run in taken[name])
        print(
            f"| {name} | {tokens / each['cpu'] / 1e6:,.1f} | {speeds[0]:,.0f} to {speeds[-1]:,.0f} "
            f"| {tokens / each['wall'] / 1e6:,.1f} | {each['cpu'] / ours['cpu']:.2f} "
            f"| {each['opened'] * 1e3:,.1f} |"
        )


if __name__ == "__main__":
    main()
