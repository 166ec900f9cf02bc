"""Gopher's, C4's and FineWeb's rules against datatrove's filters: speed, and the same verdicts.

    python -m benchmarks.heuristics.run ../shared/data/web/pages.warc.gz

The pages of a WARC are extracted once. Then every contender judges each text by four filters (Gopher's
repetition, Gopher's quality, C4, FineWeb), each on the text as it came, in an environment of its own, on one
core, in turn. Seconds are taken within the process, after its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from warcio.archiveiterator import ArchiveIterator

from benchmarks.measure import peer_python, run

PEERS = Path(__file__).parent / "peers"
DATATROVE = ["datatrove[io,processing]==0.10.0", "spacy==3.8.18"]
SHIPPED, SPLIT = "datatrove, as shipped", "datatrove, our definitions"
OURS, STAGE = "ours, the same rules", "ours, the whole stage"
NAMES = {
    "dup_para_frac": "gopher.max_duplicate_paragraphs",
    "dup_para_char_frac": "gopher.max_duplicate_paragraph_characters",
    "dup_line_frac": "gopher.max_duplicate_lines",
    "dup_line_char_frac": "gopher.max_duplicate_line_characters",
    **{f"top_{n}_gram": f"gopher.max_top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher.max_duplicate_{n}_grams" for n in range(5, 11)},
    "gopher_short_doc": "gopher.min_words",
    "gopher_long_doc": "gopher.max_words",
    "gopher_below_avg_threshold": "gopher.min_word_length",
    "gopher_above_avg_threshold": "gopher.max_word_length",
    "gopher_too_many_hashes": "gopher.max_hashes",
    "gopher_too_many_ellipsis": "gopher.max_ellipses",
    "gopher_too_many_bullets": "gopher.max_bullet_lines",
    "gopher_too_many_end_ellipsis": "gopher.max_ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher.min_alphabetic",
    "gopher_enough_stop_words": "gopher.min_stop_words",
    "lorem_ipsum": "c4.max_lorem_ipsum",
    "curly_bracket": "c4.max_curly_brackets",
    "too_few_sentences": "c4.min_sentences",
    "line_punct_ratio": "fineweb.min_terminal_lines",
    "short_line_ratio": "fineweb.max_short_lines",
    "char_dup_ratio": "fineweb.max_duplicate_characters",
    "list_ratio": "fineweb.max_newlines",
    "kept": "kept",
}
"""datatrove's reasons in our words."""


def main() -> None:
    """Run the chosen benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("warc", type=Path, help="pages to extract")
    parser.add_argument("--documents", type=int, default=500, help="for speed, evenly spread over all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=Path(".peers-heuristics"), help="where it is, or goes")
    chosen = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    peer = peer_python(chosen.peers, DATATROVE)
    with tempfile.TemporaryDirectory() as directory:
        texts = extracted(chosen.warc)
        some = texts[:: max(len(texts) // chosen.documents, 1)][: chosen.documents]
        few = written(some, Path(directory) / "few.jsonl")
        compare_speed(few, some, peer, chosen.repeats)
        compare_verdicts(written(texts, Path(directory) / "all.jsonl"), peer)


def contenders(peer: Path) -> dict[str, list[str | Path]]:
    """How each is started."""
    return {
        OURS: [sys.executable, PEERS / "ours.py", "rules"],
        STAGE: [sys.executable, PEERS / "ours.py", "stage"],
        SPLIT: [peer, PEERS / "datatrove_filters.py", "ours"],
        SHIPPED: [peer, PEERS / "datatrove_filters.py", "shipped"],
    }


def compare_speed(file: Path, texts: Sequence[str], peer: Path, repeats: int) -> None:
    """Print the medians of some runs in turn."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in contenders(peer)}
    for _ in range(repeats):
        for name, command in contenders(peer).items():
            taken[name].append(json.loads(run([*command, file, os.devnull]).said))
    size = sum(map(len, texts))
    print(f"{len(texts):,} texts of {size / len(texts):,.0f} characters; medians of {repeats} runs\n")
    print("| | CPU ms a text | wall ms a text | texts/s of CPU | ours / it, CPU | ours / it, wall |")
    print("|---|---|---|---|---|---|")
    middle = {
        name: [sorted(run[kind] for run in runs)[repeats // 2] / len(texts) for kind in ("cpu_s", "wall_s")]
        for name, runs in taken.items()
    }
    for name, (cpu, wall) in middle.items():
        ratios = [own / it for own, it in zip(middle[OURS], (cpu, wall), strict=True)]
        taken_ms = f"{cpu * 1e3:.2f} | {wall * 1e3:.2f} | {1 / cpu:,.0f}"
        print(f"| {name} | {taken_ms} | {ratios[0]:.3f} | {ratios[1]:.3f} |")


def compare_verdicts(file: Path, peer: Path) -> None:
    """Print how many texts each filter drops, and every verdict that is not the same."""
    verdicts = {}
    for name in (OURS, SPLIT, SHIPPED):
        output = file.with_name(name)
        run([*contenders(peer)[name], file, output])
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        verdicts[name] = rows if name == OURS else [{k: NAMES[v] for k, v in row.items()} for row in rows]
    print(f"\n{len(verdicts[OURS]):,} texts\n")
    print(
        "| filter | ours drops | theirs, our definitions | other verdicts | theirs, shipped | other fates |"
    )
    print("|---|---|---|---|---|---|")
    for rule in verdicts[OURS][0]:
        ours, same, shipped = ([row[rule] for row in verdicts[name]] for name in (OURS, SPLIT, SHIPPED))
        drops = [sum(verdict != "kept" for verdict in each) for each in (ours, same, shipped)]
        others = Counter((a, b) for a, b in zip(ours, same, strict=True) if a != b)
        fates = sum((a == "kept") != (b == "kept") for a, b in zip(ours, shipped, strict=True))
        print(f"| {rule} | {drops[0]:,} | {drops[1]:,} | {others.total()} | {drops[2]:,} | {fates} |")
        for (one, other), number in others.most_common():
            print(f"  {number} x ours {one}, theirs {other}", file=sys.stderr)


def extracted(warc: Path) -> list[str]:
    """The texts of the pages of a WARC."""
    import trafilatura

    texts = []
    with warc.open("rb") as file:
        for record in ArchiveIterator(file):
            if record.rec_type == "response":
                text = trafilatura.extract(
                    record.content_stream().read(), favor_precision=True, include_comments=False
                )
                texts += [text] if text else []
    return texts


def written(texts: Sequence[str], path: Path) -> Path:
    """Texts as JSON lines."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


if __name__ == "__main__":
    main()
