"""`outbound pack --join`: processes that pack together make what one command makes, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataprep.audit.under_way import pack_under_way
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack import join, tokenize
from dataprep.pack.manifest import generation_path, latest_generation
from dataprep.pack.pack import make, next_generation, tidy
from dataprep.pack.packing import Packing
from dataprep.pack.steps import STEPS
from dataprep.store import requests
from dataprep.store.step import LocalPool, plan_step
from dataprep.store.workers import all_workers, new_worker, write_worker
from dataprep.tokenizer import tokenizer
from dataprep.tokenizer.train import train
from support import cli
from support.cli import result, run
from support.kills import kill
from support.packed_corpus import LAYOUT, TEXTS, built, stream
from support.packed_corpus import run as pack_alone
from support.patience import patient, wait_until
from support.ready_corpus import no_progress
from support.whole_corpus import text

SHAPE = ["--block-tokens", "500", "--shard-blocks", "3", "--held-out", "0.2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """All texts in two increments. Left as it is."""
    return built(tmp_path_factory.mktemp("corpus") / "mine", range(30), range(30, 60))


@pytest.fixture(scope="module")
def alone(corpus: Corpus, bpe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one command makes of it. Left as it is."""
    tokens = tmp_path_factory.mktemp("alone") / "tokens"
    result("pack", corpus.root, "--tokenizer", bpe, "-o", tokens, *SHAPE, "--workers", 1)
    return tokens


def words(corpus: Corpus, bpe: Path, tokens: Path) -> list[str]:
    return ["pack", str(corpus.root), "--tokenizer", str(bpe), "-o", str(tokens), *SHAPE, "--join"]


WITHOUT_LOCKS = "import fcntl; fcntl.flock = lambda *_: None; from pipeline.cli.main import main; main()"
"""The command where the filesystem's locks do nothing, as over nodes on some."""


def start(corpus: Corpus, bpe: Path, tokens: Path, *python: str) -> subprocess.Popen[str]:
    how = {"python": python} if python else {}
    return cli.start(*words(corpus, bpe, tokens), "--workers", 1, **how)


def files(root: Path) -> dict[str, bytes]:
    """All files of a directory but its lock."""
    found = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def claims(tokens: Path) -> list[Path]:
    return list(tokens.glob("jobs/runs/*/*.claims/[!.]*.json"))


def begun(corpus: Corpus, bpe: Path, tokens: Path) -> Packing:
    """A pack of which nothing is made yet."""
    tokens.mkdir(exist_ok=True)
    _, packing = next_generation(corpus, corpus.current_build(), bpe, tokens, LAYOUT)
    assert packing
    packing.save()
    return packing


@pytest.mark.slow(8)
def test_three_processes_make_what_one_command_makes(
    corpus: Corpus, alone: Path, bpe: Path, tmp_path: Path
) -> None:
    processes = [start(corpus, bpe, tmp_path / "tokens", "-c", WITHOUT_LOCKS) for _ in range(3)]
    for process in processes:
        cli.wait_for(process)
    assert files(tmp_path / "tokens") == files(alone)
    assert {path.name for path in (tmp_path / "tokens").iterdir() if path.is_dir()} == {"tokenizer"}
    assert not (corpus.root / "jobs").exists()
    assert result("corpus", "verify", corpus.root, "--tokens", tmp_path / "tokens")["problems"] == []
    cli.wait_for(start(corpus, bpe, tmp_path / "tokens"))  # which comes late
    assert files(tmp_path / "tokens") == files(alone)


@pytest.mark.slow(8)
def test_others_make_what_a_killed_process_had_begun(
    corpus: Corpus, alone: Path, bpe: Path, tmp_path: Path
) -> None:
    corpus = Corpus.open(shutil.copytree(corpus.root, tmp_path / "mine"))
    tokens = tmp_path / "tokens"
    tar = next(corpus.current_build().path.glob("0001-*/shard/*.tar"))
    aside = tar.rename(tmp_path / tar.name)
    os.mkfifo(tar)  # whoever reads it waits
    first = start(corpus, bpe, tokens)
    held = "0001-00000"
    wait_until(lambda: held in [part.part for each in all_workers(tokens) for part in each.open], held)
    kill(first)
    assert not list(tokens.glob(f"runs/*/tokenize/{held}.json"))
    os.replace(aside, tar)
    (tokens / f".train-0001-00000.{os.uname().nodename}.{first.pid}.part").write_bytes(b"torn")
    others = [start(corpus, bpe, tokens) for _ in range(2)]
    for process in others:
        cli.wait_for(process)
    assert files(tokens) == files(alone)


@pytest.mark.slow(6)
def test_a_part_that_was_given_up_is_made_when_its_cause_is_mended(
    corpus: Corpus, alone: Path, bpe: Path, tmp_path: Path
) -> None:
    corpus = Corpus.open(shutil.copytree(corpus.root, tmp_path / "mine"))
    tar = min(corpus.current_build().path.glob("*/shard/*.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-15000])
    failed = run(*words(corpus, bpe, tmp_path / "tokens"), "--workers", 1)
    assert failed.returncode == 1
    assert (
        "1 of the parts of tokenize failed too often, the first one 0001-00000 after 3 tries" in failed.stderr
    )
    assert [part.part for part in pack_under_way(tmp_path / "tokens").given_up] == ["0001-00000"]
    tar.write_bytes(whole)
    assert result(*words(corpus, bpe, tmp_path / "tokens"), "--workers", 1, "--again")["made"] > 3
    assert files(tmp_path / "tokens") == files(alone)


@pytest.mark.slow(18)
def test_what_is_forgotten_beside_processes_that_pack_is_in_no_token(bpe: Path, tmp_path: Path) -> None:
    """The command waits for no process to end, and they go on after it."""
    (tmp_path / "recipe.yaml").write_text("name: mine\n")
    root, tokens = tmp_path / "mine", tmp_path / "tokens"
    result("corpus", "init", root, "--recipe", tmp_path / "recipe.yaml")
    add_texts(root, range(10))
    corpus = Corpus.open(root)
    result(*words(corpus, bpe, tokens)[:-1], "--workers", 1)
    add_texts(root, range(10, 20))
    processes = [start(corpus, bpe, tokens) for _ in range(2)]
    wait_until(lambda: claims(tokens), "a part that is claimed")
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    forget = cli.start("corpus", "forget", root, "--site", "a3.test", "--tokens", tokens)
    wait_until(lambda: [*root.glob("jobs/exclusive/*.json")], "its request")
    assert not generation_path(tokens, 2).exists()
    for process in processes:
        process.send_signal(signal.SIGCONT)
    wait_until(lambda: any(worker.heeds for worker in all_workers(tokens)), "a worker that makes way")
    cli.wait_for(forget)
    for process in processes:
        cli.wait_for(process)
    assert result("corpus", "verify", root, "--tokens", tokens)["problems"] == []
    generation = latest_generation(tokens)
    assert generation
    ids = [token for split in ("train", "val") for token in stream(tokens, generation, split)]
    packed = tokenizer.load(bpe).decode(ids)
    assert [number for number in range(20) if text(number) not in packed] == [3, 13]
    assert {path.name for path in tokens.iterdir() if path.is_dir()} == {"tokenizer"}


def add_texts(root: Path, numbers: range) -> None:
    """Import some texts as an increment."""
    rows = [{"text": text(number), "url": f"http://a{number % 10}.test/{number}"} for number in numbers]
    path = root.parent / f"from-{numbers.start}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result("corpus", "import", root, path, "--kind", "jsonl", "--workers", 1)


def other_tokenizer(tmp_path: Path, bpe: Path) -> tuple[list[str], str]:
    train(TEXTS, 300, tmp_path / "other")
    return ["--tokenizer", str(tmp_path / "other")], f"the tokenizer {tokenizer.load(bpe).fingerprint} of 400"


def other_share(tmp_path: Path, bpe: Path) -> tuple[list[str], str]:
    return ["--held-out", "0.3"], "begun with held_out 0.2, not held_out 0.3"


@pytest.mark.parametrize("other", [other_tokenizer, other_share])
def test_other_words_than_those_of_the_others_are_refused(
    corpus: Corpus, bpe: Path, tmp_path: Path, other: Callable[[Path, Path], tuple[list[str], str]]
) -> None:
    tokens = tmp_path / "tokens"
    place = begun(corpus, bpe, tokens).places["pack"]
    changed, expected = other(tmp_path, bpe)
    refused = run(*words(corpus, bpe, tokens), *changed)
    assert refused.returncode == 1
    assert f"{place}: holds a pack that was begun with" in refused.stderr
    assert expected in refused.stderr
    assert not (tokens / "tokenizer").exists()


def test_another_version_than_that_of_the_others_is_refused(
    corpus: Corpus, bpe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = begun(corpus, bpe, tmp_path / "tokens")
    with monkeypatch.context() as patch:
        patch.setattr(tokenize, "VERSION", 2)
        plan_step(STEPS[0], packing)
    refused = run(*words(corpus, bpe, tmp_path / "tokens"))
    assert refused.returncode == 1
    assert "was planned with other versions or inputs (tokenize 2, here 1)" in refused.stderr


def test_a_process_whose_time_is_over_leaves_the_rest_to_others(
    corpus: Corpus, bpe: Path, tmp_path: Path
) -> None:
    stopped = run(*words(corpus, bpe, tmp_path / "tokens"), "--for", "0s")
    assert (stopped.returncode, "any process goes on from here" in stopped.stderr) == (75, True)
    assert [worker.ended for worker in all_workers(tmp_path / "tokens")] == ["stopped"]
    assert not (corpus.root / "jobs").exists()


def test_limits_are_for_processes_that_join(corpus: Corpus, bpe: Path, tmp_path: Path) -> None:
    refused = run("pack", corpus.root, "--tokenizer", bpe, "-o", tmp_path / "tokens", "--for", "1h")
    assert (refused.returncode, "give --join, too" in refused.stderr) == (2, True)


def test_a_process_that_comes_when_all_is_published_makes_nothing_anew(
    corpus: Corpus, bpe: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    packing = begun(corpus, bpe, tokens)
    generation, _ = next_generation(corpus, corpus.current_build(), bpe, tokens, LAYOUT)
    pack_alone(corpus, bpe, tokens)
    before = files(tokens)
    with pytest.raises(DataError, match="another pack published it meanwhile"):
        make(generation, packing, bpe, LocalPool(1), no_progress)
    tidy(tokens)
    assert files(tokens) == before


@pytest.mark.slow(1)
def test_a_process_whose_files_another_has_removed_ends_with_its_generation(
    corpus: Corpus, bpe: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()

    class Slow(LocalPool):
        def __call__(self, *_: Any) -> None:
            pack_alone(corpus, bpe, tokens)

    generation = join._all_packed(corpus.root, bpe, tokens, LAYOUT, Slow(1, joins=True), no_progress)
    assert generation == latest_generation(tokens)


@pytest.mark.slow(1)
def test_increments_that_others_do_not_pack_yet_come_next(corpus: Corpus, bpe: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    both = begun(corpus, bpe, tokens)
    both.discard()
    first = replace(both, increments=dict([*both.increments.items()][:1]))
    first.save()
    generation = join._all_packed(corpus.root, bpe, tokens, LAYOUT, LocalPool(1, joins=True), no_progress)
    assert (generation.number, [*generation.increments]) == (2, ["0001", "0002"])


def test_a_process_makes_way_for_removals_in_the_corpus_that_it_reads(tmp_path: Path) -> None:
    root, tokens = tmp_path / "mine", tmp_path / "tokens"
    root.mkdir()
    packer = join.Packer.of(root, tokens, new_worker(join.STAGE, 1), float("inf"), float("inf"))

    def remove() -> list[int]:
        with requests.alone(root):
            return [worker.heeds for worker in all_workers(root)]

    with packer.kept(), ThreadPoolExecutor(1) as pool:
        removing = pool.submit(remove)
        wait_until(packer.is_to_stand_aside, "a request")
        with pytest.raises(requests.Excluded):
            packer.look_around([])
        packer.stand_aside(look_s=0.01)
        assert removing.result(patient()) == [1]
        packer.look_around([])
    assert all_workers(root) == []
    assert [worker.heeds for worker in all_workers(tokens)] == [0]


def test_a_pack_without_others_is_refused_while_others_pack(
    corpus: Corpus, bpe: Path, tmp_path: Path
) -> None:
    worker = new_worker(join.STAGE, 1)
    write_worker(tmp_path / "tokens", worker)
    with pytest.raises(DataError, match="is being packed by processes with --join"):
        pack_alone(corpus, bpe, tmp_path / "tokens")


@pytest.mark.slow(2)
def test_nothing_of_others_at_work_is_tidied(corpus: Corpus, bpe: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    pack_alone(built(tmp_path / "small", range(30)), bpe, tokens)
    worker = new_worker(join.STAGE, 1)
    write_worker(tokens, worker)
    shard = tokens / "train-0002-00000-0123456789ab.tar"
    shard.write_bytes(b"of a part that is made")
    tidy(tokens)
    assert shard.exists()
    worker.ended = "whole"
    write_worker(tokens, worker)
    under_way = begun(built(tmp_path / "more", range(30), range(30, 60)), bpe, tokens)
    plan_step(STEPS[0], under_way)
    tidy(tokens)
    assert shard.exists()
    assert Packing.load(tokens) == under_way
    under_way.discard()
    tidy(tokens)
    assert not shard.exists()
    assert {path.name for path in tokens.iterdir() if path.is_dir()} == {"tokenizer"}
