"""The classifier: it learns what can be learned, gives the same file again, and loads nothing but numbers."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as serialised

from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Quality, Recipe, Select
from dataprep.errors import DataError
from dataprep.score import stage as score
from dataprep.score.quality import model
from dataprep.score.quality.features import BUCKETS, features
from dataprep.score.quality.training import Sample, Trained, sample, train
from dataprep.store.files import read_table
from dataprep.train_quality import gather
from support.ready_corpus import add_pages, make_corpus, no_progress


def texts(theme: list[str], seed: int, count: int, words: int = 40) -> list[str]:
    """Texts whose words are drawn from a theme and, half of them, from what all have in common."""
    common = [f"common{n}" for n in range(50)]
    random = np.random.default_rng(seed)
    return [
        " ".join(theme[n % len(theme)] if n % 2 else common[n % 50] for n in random.integers(0, 1000, words))
        for _ in range(count)
    ]


GOOD = texts([f"novel{n}" for n in range(300)], 1, 300)
BAD = texts([f"spam{n}" for n in range(300)], 2, 600)


def samples(of: list[str]) -> list[Sample]:
    return [sample(text) for text in of]


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(samples(GOOD), samples(BAD), lambda _: None)


@pytest.fixture(scope="module")
def path(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "good.model"
    model.save(trained, path)
    return path


def test_features_are_of_unit_length_whatever_the_order_and_case() -> None:
    one, other = features("The cat the CAT sat"), features("sat cat the cat The")
    assert np.array_equal(one.buckets, other.buckets)
    assert one.weights @ one.weights == pytest.approx(1)
    assert sorted((one.weights / one.weights.min()).tolist()) == pytest.approx([1, 2, 2])
    assert len(features("").buckets) == 0


def test_it_tells_held_out_texts_apart(trained: Trained) -> None:
    assert (trained.accuracy, trained.auc) > (0.97, 0.99)
    assert sum(trained.trained_on + trained.held_out) == 900
    assert min(trained.held_out) > 15


def test_it_learns_nothing_where_there_is_nothing_to_learn() -> None:
    same = texts(["word"], 3, 1000)
    assert train(samples(same[:500]), samples(same[500:]), lambda _: None).auc == pytest.approx(0.5, abs=0.15)


def test_the_rarer_side_weighs_the_same(trained: Trained, path: Path) -> None:
    neutral = model.load(path).score("unheard of words")
    assert 0.2 < neutral < 0.8


def test_training_again_gives_the_same_file_in_any_order_of_samples(path: Path, tmp_path: Path) -> None:
    again = train(samples(GOOD[::-1]), samples(BAD[::-1]), lambda _: None)
    model.save(again, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_text_on_both_sides_is_on_none() -> None:
    both = train(samples(GOOD + BAD[:50]), samples(BAD), lambda _: None)
    assert sum(both.trained_on + both.held_out) == 300 + 550


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match="too few different samples"):
        train(samples(GOOD[:1] * 50), samples(BAD), lambda _: None)


def test_a_loaded_model_scores_as_it_was_trained(path: Path) -> None:
    loaded = model.load(path)
    assert loaded.score(" ".join(GOOD[:3])) > 0.95
    assert loaded.score(" ".join(BAD[:3])) < 0.05
    assert loaded.facts["trained_on"]["good"] + loaded.facts["held_out"]["good"] == 300


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("exploded", "w")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Bomb()), "is no quality model"),
        (b"", "is no quality model"),
        (serialised({"weights": np.zeros(4, np.float32)}), "is no quality model"),
        (
            serialised(
                {"weights": np.zeros(BUCKETS, np.float32), "bias": np.zeros(1)},
                {"outbound": json.dumps({"format": model.FORMAT, "features": 99})},
            ),
            "features 99",
        ),
    ],
)
def test_what_is_no_model_is_refused_and_executes_nothing(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(DataError, match=message):
        model.load(tmp_path / "m")
    assert not (tmp_path / "exploded").exists()


def scored_corpus(root: Path, path: Path) -> Corpus:
    recipe = Recipe(name="t", collect=Collect(quality=path.name), select=Select(quality=Quality()))
    corpus = Corpus.create(root, model.embed(recipe, path.parent, root))
    pages = [(n, f"u{n}", text) for n, text in enumerate([*GOOD[:40], *BAD[:40]])]
    add_pages(corpus, "one", pages, parts=2)
    return corpus


def test_a_corpus_carries_its_model_and_keeps_by_it(path: Path, tmp_path: Path) -> None:
    corpus = scored_corpus(tmp_path / "corpus", path)
    record = corpus.increments()[0].records("score")[0]
    assert record.versions["quality"] == model.load(path).digest
    build = ingest.extend(Corpus.open(corpus.root), 1, no_progress)
    table = read_table(corpus.root, [build.parts("verdicts")[0].outputs["verdicts"]]).to_pylist()
    dropped = [row for row in table if row["verdict"] == "quality.alpha"]
    assert 35 <= len(dropped) <= 45
    assert np.median([row["number"] for row in dropped]) < 0.05
    scores = read_table(corpus.root, [record.outputs["scores"]])["quality"].to_pylist()
    assert scores == [np.float32(model.load(path).score(text)) for text in [*GOOD[:40], *BAD[:40]][::2]]


def test_a_model_that_changed_inside_a_corpus_is_refused(path: Path, tmp_path: Path) -> None:
    corpus = scored_corpus(tmp_path, path)
    (embedded,) = tmp_path.glob("quality-*")
    content = bytearray(embedded.read_bytes())
    content[-100] ^= 1
    embedded.write_bytes(content)
    model.load.cache_clear()
    with pytest.raises(DataError, match="has changed since the corpus was made"):
        score.versions(corpus)


def test_selecting_by_quality_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, quality={})
    add_pages(corpus, "one", [(1, "a", "some text")])
    with pytest.raises(DataError, match="corpus init --quality MODEL"):
        ingest.extend(corpus, 1, no_progress)


def test_samples_come_from_corpora_files_of_text_and_json_lines(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", min_words=3)
    add_pages(corpus, "one", [(1, "a", "a long enough text"), (2, "b", "too short")])
    ingest.extend(corpus, 1, no_progress)
    novel = tmp_path / "novel.txt.gz"
    novel.write_bytes(gzip.compress("".join(f"line {n} of the novel\n" for n in range(1000)).encode()))
    lines = tmp_path / "pages.jsonl"
    lines.write_text('{"text": "page one"}\n{"text": "page two"}\n{"text": "page one"}\n')

    def keys(path: Path, good: bool = True, limit: int = 100) -> list[int]:
        return [each.key for each in gather([path], good, limit, lambda _: None)]

    assert len(keys(corpus.root)) == 1
    assert len(keys(corpus.root, good=False)) == 2
    assert len(keys(lines)) == 2
    assert len(keys(novel)) == 6
    assert keys(novel, limit=2) == keys(novel)[:2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, "neither a corpus nor a file"),
        ("bad.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', "line 2 is no JSON object"),
        ("latin.txt", b"caf\xe9", "cannot be read as text"),
        ("cut.txt.gz", gzip.compress(b"a" * 1000, mtime=0)[:-12], "cannot be read as text"),
    ],
)
def test_a_source_that_cannot_be_read_is_named(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: .*{message}"):
        gather([tmp_path / name], True, 10, lambda _: None)
