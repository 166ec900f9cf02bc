"""Decontamination: GPT-3's rule on planted examples, the law of increments, and sets that change or go."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dataprep import ingest
from dataprep.audit.funnel import funnel
from dataprep.audit.trace import trace
from dataprep.audit.verify import problems
from dataprep.corpus import evalsets
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Decontaminate, NearDuplicates, load_recipe, overridden, select_hash
from dataprep.decontaminate import stage as decontaminate
from dataprep.errors import DataError
from dataprep.shards import text_shards
from dataprep.store.files import read_table
from support.ready_corpus import Page, add_pages, make_corpus, no_progress

EXAMPLE = "When the seven old clocks of Miller's tower strike twice, who (if anybody) winds them again?"
QUESTION = json.dumps({"question": EXAMPLE, "label": 3})


def prose(seed: int, characters: int) -> str:
    """Words that no two seeds share, ending in a space."""
    numbers = np.random.default_rng(seed).integers(10**7, 10**8, characters // 9)
    return " ".join(f"w{number}" for number in numbers.tolist())[: characters - 1] + " "


def sets(directory: Path, *lines: str) -> Decontaminate:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "quiz.jsonl").write_text("\n".join(lines))
    return Decontaminate(sets=str(directory), content=evalsets.content(evalsets.hashes(directory)))


def corpus_with(root: Path, rules: Decontaminate | None, *increments: list[Page], parts: int = 2) -> Corpus:
    corpus = make_corpus(root, decontaminate=rules)
    for number, pages in enumerate(increments):
        add_pages(corpus, f"m{number}", pages, parts)
    return corpus


def samples(corpus: Corpus, workers: int = 1) -> list[dict[str, Any]]:
    """Build, and read every sample back."""
    build = ingest.extend(corpus, workers, no_progress)
    return [
        document
        for shard in text_shards.shards(build)
        for document in text_shards.read_documents(corpus.root / shard.tar.path)
    ]


def cuts(corpus: Corpus) -> list[dict[str, Any]]:
    build = corpus.current_build()
    outputs = [output for each in corpus.increments() for output in decontaminate.tables(build, each)]
    return read_table(corpus.root, outputs).to_pylist()


def test_a_planted_example_goes_with_200_characters_on_either_side(tmp_path: Path) -> None:
    before, after = prose(1, 1000), prose(2, 700)
    planted = EXAMPLE.upper().replace(" OLD ", "\n\n— old ")
    page = before + planted + " " + after
    corpus = corpus_with(
        tmp_path / "c", sets(tmp_path / "e", QUESTION), [(1, "u", page), (2, "v", prose(3, 500))]
    )
    one, two, other = sorted(samples(corpus), key=lambda sample: (sample["url"], sample.get("piece")))
    end = page.index(planted) + len(planted) - 1  # the question mark is no part of the last word
    assert one["piece"] == [0, 1000 - 200]
    assert two["piece"] == [end + 200, len(page)]
    for sample in (one, two):
        assert sample["text"] == page[slice(*sample["piece"])]
    assert "piece" not in other
    assert one["doc_id"] == two["doc_id"]
    build = corpus.current_build()
    (tar,) = [shard.tar.path for shard in text_shards.shards(build)]
    with tarfile.open(corpus.root / tar) as archive:
        keys = [name.removesuffix(".txt") for name in archive.getnames() if name.endswith(".txt")]
    assert sorted(keys) == sorted([f"{one['doc_id']}-00", f"{one['doc_id']}-01", other["doc_id"]])
    (shard,) = text_shards.shards(build)
    found = text_shards.read_document(corpus.root, shard, bytes.fromhex(one["doc_id"]))
    assert [each["piece"] for each in found] == [one["piece"], two["piece"]]
    traced = trace(corpus, one["doc_id"])
    assert (traced["verdict"], traced["pieces"]) == ("kept", [one["piece"], two["piece"]])
    assert traced["text"] == [tar]


def test_short_pieces_are_dropped_and_a_document_of_nothing_else_is_contaminated(tmp_path: Path) -> None:
    start = prose(1, 199 + 200) + EXAMPLE + " " + prose(2, 900)
    nothing = prose(3, 399) + EXAMPLE + " " + prose(4, 390)
    corpus = corpus_with(
        tmp_path / "c", sets(tmp_path / "e", QUESTION), [(1, "start", start), (2, "none", nothing)]
    )
    (sample,) = samples(corpus)
    assert (sample["url"], sample["piece"][1]) == ("start", len(start))
    by_verdict = {row["verdict"]: row for row in cuts(corpus)}
    assert by_verdict["kept"]["number"] == 2
    assert by_verdict["contaminated"]["pieces"] == []
    chosen = {count.stage: count for count in funnel(corpus.root)}["decontaminate"]
    assert (chosen.entered, chosen.passed, chosen.reasons) == (2, 1, {"contaminated": 1})
    assert list(problems(corpus)) == []


@pytest.mark.parametrize(("hits", "kept"), [(9, True), (10, False)])
def test_a_document_in_more_than_10_pieces_is_dropped(tmp_path: Path, hits: int, kept: bool) -> None:
    page = prose(0, 900) + "".join(EXAMPLE + " " + prose(seed, 900) for seed in range(1, hits + 1))
    corpus = corpus_with(tmp_path / "c", sets(tmp_path / "e", QUESTION), [(1, "u", page)])
    assert len(samples(corpus)) == (10 if kept else 0)
    (row,) = cuts(corpus)
    assert (row["verdict"], row["number"]) == ("kept" if kept else "contaminated", hits + 1)


@pytest.mark.slow(1)
def test_a_13_gram_is_ignored_from_its_11th_kept_document_on(tmp_path: Path) -> None:
    pages = [(n, f"u{n:02d}", prose(n, 600) + EXAMPLE + " " + prose(n + 100, 600)) for n in range(14)]
    copy = (3, "copy of u02", pages[2][2])  # not kept, so it does not count
    corpus = corpus_with(
        tmp_path / "c", sets(tmp_path / "e", QUESTION), [*pages[:4], copy], pages[4:8], pages[8:]
    )
    texts = {sample["url"] for sample in samples(corpus) if EXAMPLE in sample["text"]}
    assert texts == {"u10", "u11", "u12", "u13"}


def test_fewer_than_13_words_in_common_are_no_contamination(tmp_path: Path) -> None:
    twelve = " ".join(EXAMPLE.split()[:12])
    pages = [(1, "u", prose(1, 500) + twelve + " " + prose(2, 500))]
    rules = sets(tmp_path / "e", QUESTION, json.dumps({"q": twelve}))
    (sample,) = samples(corpus_with(tmp_path / "c", rules, pages))
    assert twelve in sample["text"]
    record = json.loads(next(tmp_path.glob("c/builds/*/ngrams/all.json")).read_text())
    assert (record["entered"], record["passed"], record["reasons"]) == (2, 1, {"too_short": 1})


def reference(pages: list[Page], examples: list[str], rules: Decontaminate) -> dict[str, list[str]]:
    """The rule by plain loops over all pages at once: the texts that are left of each."""

    def grams(text: str) -> list[tuple[str, int, int]]:
        words = [
            (re.sub(r"\W", "", match[0].lower()), match.start(), match.end() - match[0].endswith(","))
            for match in re.finditer(r"\S+", text)
        ]
        runs = zip(*(words[at:] for at in range(rules.ngram)), strict=False)
        return [(" ".join(w for w, _, _ in run), run[0][1], run[-1][2]) for run in runs]

    known = {gram for example in examples for gram, _, _ in grams(example)}
    seen: Counter[str] = Counter()
    left: dict[str, list[str]] = {}
    for _, url, text in sorted(pages):
        hits = [hit for hit in grams(text) if hit[0] in known]
        active = [hit for hit in hits if seen[hit[0]] < rules.common]
        seen.update({gram for gram, _, _ in hits})
        gone = np.zeros(len(text) + 2, np.int8)
        gone[[0, -1]] = 1
        for _, start, end in active:
            gone[1 + max(start - rules.window, 0) : 1 + end + rules.window] = 1
        edges = np.flatnonzero(np.diff(gone))
        pieces = [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
        long = [piece for piece in pieces if len(piece) >= rules.min_piece]
        left[url] = long if len(pieces) <= rules.max_pieces or not active else []
    return {url: pieces for url, pieces in left.items() if pieces}


TEXT = st.lists(st.sampled_from(["a", "b", "c", "d", "A", "b,"]), min_size=8, max_size=40).map(" ".join)


@pytest.mark.slow(3)
@settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a build an example: shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=10, unique_by=lambda text: text),
    examples=st.lists(TEXT, min_size=1, max_size=3),
    cut=st.sets(st.integers(0, 5), max_size=3),
)
def test_any_chronological_split_leaves_the_text_that_the_rule_leaves_at_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], examples: list[str], cut: set[int]
) -> None:
    tmp_path = tmp_path_factory.mktemp("law")
    rules = sets(tmp_path / "e", *(json.dumps(each) for each in examples)).model_copy(
        update={"ngram": 3, "window": 2, "min_piece": 3, "max_pieces": 3, "common": 2}
    )
    pages: list[Page] = [(n // 2, f"u{n}", f"{n} {text} {n}") for n, text in enumerate(texts)]
    left: list[dict[str, list[str]]] = []
    bounds = [0, *sorted(min(2 * each, len(pages)) for each in cut), len(pages)]
    for name, increments in (("once", [pages]), ("split", [pages[a:b] for a, b in pairwise(bounds)])):
        corpus = make_corpus(tmp_path / name, NearDuplicates(threshold=1), decontaminate=rules)
        for number, increment in enumerate(increments):
            add_pages(corpus, f"m{number}", increment, parts=2)
        found: dict[str, list[str]] = {}
        for sample in samples(corpus):
            found.setdefault(sample["url"], []).append(sample["text"])
        left.append(found)
        assert list(problems(corpus)) == []
    keys = {url: xxhash.xxh3_128_digest(url.encode()) for _, url, _ in pages}
    ordered = [(seen, url, text) for seen, url, text in sorted(pages, key=lambda p: (p[0], keys[p[1]]))]
    expected = reference([(n, url, text) for n, (_, url, text) in enumerate(ordered)], examples, rules)
    assert left == [expected, expected]


@pytest.mark.slow(2)
def test_any_number_of_processes_makes_the_same_files(tmp_path: Path) -> None:
    rules = sets(tmp_path / "e", QUESTION)
    pages = [(n, f"u{n}", prose(n, 600) + EXAMPLE + " " + prose(n + 100, 600)) for n in range(12)]
    one, two = (corpus_with(tmp_path / name, rules, pages, parts=3) for name in ("one", "two"))
    samples(one, workers=1)
    samples(two, workers=2)
    for step in ("ngrams", "*/decontaminate", "*/shard"):
        names = [
            sorted(path.name for path in corpus.current_build().path.glob(f"{step}/*"))
            for corpus in (one, two)
        ]
        assert names[0] == names[1] != []  # they hold the files' hashes


@pytest.mark.slow(1)
def test_what_a_kill_left_out_is_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    pages = [(n, f"u{n}", prose(n, 600) + EXAMPLE + " " + prose(n + 100, 600)) for n in range(6)]
    corpus = corpus_with(tmp_path / "c", sets(tmp_path / "e", QUESTION), pages[:3], pages[3:])
    samples(corpus)
    path = corpus.current_build().path
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    lost: list[str] = []
    for record, step in (
        ("0002-m1/shard/00000.json", "0002-m1/shard.step.json"),
        ("0002-m1/decontaminate/all.json", "0002-m1/decontaminate.step.json"),
        ("0002-m1/verdicts/00000.json", "0002-m1/verdicts.step.json"),
        ("ngrams/all.json", "ngrams.step.json"),
    ):
        lost += [record, step]
        for name in lost:
            (path / name).unlink()
        samples(corpus)
        assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
        assert list(problems(corpus)) == []


def test_a_build_without_evaluation_sets_has_no_trace_of_the_step(tmp_path: Path) -> None:
    corpus = corpus_with(tmp_path, None, [(1, "u", prose(1, 500))])
    samples(corpus)
    assert not {"ngrams", "decontaminate"} & {path.name for path in corpus.current_build().path.rglob("*")}
    assert "decontaminate" not in {count.stage for count in funnel(corpus.root)}


def test_an_increment_of_no_documents_is_decontaminated_too(tmp_path: Path) -> None:
    corpus = corpus_with(tmp_path / "c", sets(tmp_path / "e", QUESTION), [(1, "u", prose(1, 500))])
    add_pages(corpus, "none", [], parts=0)
    assert len(samples(corpus)) == 1


def test_sets_that_changed_are_an_error_and_sets_that_went_are_none(tmp_path: Path) -> None:
    rules = sets(tmp_path / "e", QUESTION)
    pages = [(n, f"u{n}", prose(n, 600) + EXAMPLE + " " + prose(n + 100, 600)) for n in range(2)]
    corpus = corpus_with(tmp_path / "c", rules, pages[:1])
    before = samples(corpus)
    (tmp_path / "e" / "quiz.jsonl").write_text(json.dumps({"q": "Another?"}))
    add_pages(corpus, "later", pages[1:])
    with pytest.raises(DataError, match=r"have changed .*quiz\.jsonl.*put them back.*corpus select"):
        samples(corpus)
    shutil.rmtree(tmp_path / "e")
    assert len(samples(corpus)) == 2 * len(before)


def test_sets_that_went_before_the_first_build_are_an_error(tmp_path: Path) -> None:
    corpus = corpus_with(tmp_path / "c", sets(tmp_path / "e", QUESTION), [(1, "u", prose(1, 500))])
    shutil.rmtree(tmp_path / "e")
    with pytest.raises(DataError, match="there is no such directory"):
        samples(corpus)


def test_a_recipe_pins_what_its_sets_hold_wherever_they_lie(tmp_path: Path) -> None:
    hashes = set()
    for place in ("one", "two"):
        sets(tmp_path / place / "evals", QUESTION)
        recipe = tmp_path / place / "recipe.yaml"
        recipe.write_text("name: r\nselect: {decontaminate: {sets: evals}}")
        select = load_recipe(recipe).select
        assert select.decontaminate
        assert select.decontaminate.sets == str(tmp_path / place / "evals")
        hashes.add(select_hash(select))
    assert len(hashes) == 1
    (tmp_path / "two" / "evals" / "quiz.jsonl").write_text("{}")
    again = overridden(select, [f"decontaminate.sets={tmp_path / 'two' / 'evals'}"])
    assert select_hash(again) not in hashes
    assert select_hash(overridden(select, ["min_words=3"])) not in hashes
    assert overridden(select, ["decontaminate=null"]).decontaminate is None


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=40),
    st.lists(st.integers(0, 4), min_size=4, max_size=4),
)
def test_counting_in_bulk_is_counting_one_by_one(hits: list[tuple[int, int]], before: list[int]) -> None:
    common = 4
    order, gram = (
        (np.array(column, np.int64) for column in zip(*hits, strict=True))
        if hits
        else (np.empty(0, np.int64),) * 2
    )
    counts = np.array(before, np.uint32)
    removed = decontaminate.count(order, gram, counts, common)
    seen = {number: [f"earlier {n}" for n in range(count)] for number, count in enumerate(before)}
    expected = {}
    for document, number in sorted(set(hits)):
        seen[number].append(str(document))
        expected[document, number] = len(seen[number]) <= common
    assert removed.tolist() == [expected[hit] for hit in hits]
    assert counts.tolist() == [min(len(documents), common) for documents in seen.values()]
