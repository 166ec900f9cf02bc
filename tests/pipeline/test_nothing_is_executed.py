"""Whatever a stranger put into a file, reading it executes nothing (DESIGN 8, promise 6).

Every file of a corpus, of tokens, of a run and of a Hugging Face directory is replaced in turn by one that
makes a careless reader run code, and the commands that read it are run. They refuse it in one line, or never
look at it; what it would have done is not done.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xxhash
import yaml
from backports import zstd

from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump
from dataprep.tokenizer.train import train as train_tokenizer
from pipeline.config import load_config
from pipeline.data.sources import HeldOut, Samples
from pipeline.data.streaming import StreamedSamples, expand
from pipeline.data.token_stream import load_generation, verify
from pipeline.errors import RunError
from pipeline.monitor import samples
from support import cli, packed_corpus

pytestmark = pytest.mark.slow(60)

ROOT = Path(__file__).parents[2]
COPIED = {
    "corpus": ["corpus", "bpe", "tokens"],
    "tokens": ["corpus", "bpe", "tokens"],
    "run": ["tokens", "run"],
    "hf": ["tokens", "hf"],
}
"""Tree in which a file is replaced -> those that its commands need."""


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def pickled(marker: Path) -> bytes:
    return pickle.dumps(Bomb(marker))


def saved_by_torch(marker: Path) -> bytes:
    out = io.BytesIO()
    torch.save(Bomb(marker), out)
    return out.getvalue()


def array_of_objects(marker: Path) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Bomb(marker)], dtype=object))
    return out.getvalue()


def tagged_yaml(marker: Path) -> bytes:
    return f"run: !!python/object/apply:os.system ['touch {marker}']\n".encode()


def extended_parquet(marker: Path, path: Path) -> bytes:
    """The same table, with a type that Arrow before 14.0.1 unpickled (CVE-2023-47248)."""
    table = pq.read_table(path)
    kind = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickled(marker)}
    fields = [table.schema.field(0).with_metadata(kind), *list(table.schema)[1:]]
    out = io.BytesIO()
    pq.write_table(table.cast(pa.schema(fields)), out)
    return out.getvalue()


def tar_of_pickles(marker: Path) -> bytes:
    """Members that WebDataset's decoders unpickle."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for kind, data in {
            "pyd": pickled(marker),
            "pkl": pickled(marker),
            "pickle": pickled(marker),
            "pth": saved_by_torch(marker),
            "npy": array_of_objects(marker),
            "bin": pickled(marker)[:-1],
        }.items():
            member = tarfile.TarInfo(f"000000.{kind}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def instead_of(path: Path, marker: Path) -> bytes:
    """What a stranger would put in the place of a file."""
    if path.suffix == ".parquet":
        return extended_parquet(marker, path)
    kinds = {".npy": array_of_objects, ".safetensors": saved_by_torch, ".tar": tar_of_pickles}
    return kinds.get(path.suffix, tagged_yaml if path.suffix == ".yaml" else pickled)(marker)


def test_what_is_planted_would_do_harm(tmp_path: Path) -> None:
    def blown(load: Any, content: bytes) -> bool:
        load(io.BytesIO(content))
        there = marker.exists()
        marker.unlink(missing_ok=True)
        return there

    marker = tmp_path / "marker"
    assert blown(pickle.load, pickled(marker))
    assert blown(lambda file: torch.load(file, weights_only=False), saved_by_torch(marker))
    assert blown(lambda file: np.load(file, allow_pickle=True), array_of_objects(marker))
    assert blown(lambda file: yaml.load(file, yaml.UnsafeLoader), tagged_yaml(marker))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_runs: Any) -> Path:
    """A corpus, its tokens, a run over them and an export of it."""
    home = tmp_path_factory.mktemp("world")
    corpus = packed_corpus.built(home / "corpus", range(9), range(9, 14))
    train_tokenizer(packed_corpus.TEXTS, 300, home / "bpe")
    packed_corpus.run(corpus, home / "bpe", home / "tokens")
    run = tiny_runs(home)
    run.train("train.tokens=128", "schedule.warmup_tokens=0", "train.prompts=[Page]")
    assert cli.run("export", run.dir, "-o", home / "hf").returncode == 0
    (run.attempt / "funnel.json").write_text('{"": []}')
    return home


def kinds_of_files(tree: Path) -> Iterator[Path]:
    """One file of each kind: names that differ in numbers and hashes only are of one."""
    found = {}
    for path in sorted(path for path in tree.rglob("*") if path.is_file() and "wandb" not in path.parts):
        name = re.sub(r"[0-9a-f]{12,}|\d+", "#", str(path.relative_to(tree)))
        found.setdefault(name, path)
    yield from found.values()


@pytest.mark.parametrize("tree", COPIED)
def test_a_file_in_the_place_of_any_other_executes_nothing(world: Path, tmp_path: Path, tree: str) -> None:
    """Each command is done, or refuses in one line: an exception that escaped one would fail here."""
    marker = tmp_path / "marker"
    refused = {}
    for number, original in enumerate(kinds_of_files(world / tree)):
        home = tmp_path / str(number)
        for each in COPIED[tree]:
            shutil.copytree(world / each, home / each, copy_function=os.link)
        planted = home / original.relative_to(world)
        planted.unlink()  # a copy shares its bytes with the original
        planted.write_bytes(instead_of(original, marker))
        reseal(planted)
        refused[planted.name] = [said for said in told(home, tree, planted) if said]
        assert not marker.exists(), planted
        shutil.rmtree(home)
    assert sum(map(bool, refused.values())) > len(refused) / 2, refused


def reseal(planted: Path) -> None:
    """Let a checkpoint's list fit what was planted, as a stranger would who made it."""
    path = planted.parent / "checkpoint.json"
    if path == planted or not path.exists():
        return
    body = json.loads(path.read_text())["checkpoint"]
    data = planted.read_bytes()
    body["files"][planted.name] = {"bytes": len(data), "xxh3_128": xxhash.xxh3_128_hexdigest(data)}
    sealed = xxhash.xxh3_128_hexdigest(json.dumps(body, sort_keys=True).encode())
    path.unlink()
    path.write_text(json.dumps({"xxh3_128": sealed, "checkpoint": body}))


def told(home: Path, tree: str, planted: Path) -> Iterator[str]:
    """What each command that reads a tree says against it."""
    corpus, tokens, run = home / "corpus", home / "tokens", home / "run"
    if tree in ("corpus", "tokens"):
        url, fewer = "http://a.test/3", ("--workers", 1)
        layout = ("--block-tokens", 500, "--shard-blocks", 3, "--held-out", 0.2)
        yield from complaints("corpus", "status", corpus)
        yield from complaints("corpus", "verify", corpus, "--tokens", tokens)
        yield from complaints("corpus", "trace", corpus, "--tokens", tokens, "--position", 5)
        yield from complaints("corpus", "export", corpus, "-o", home / "out", *fewer)
        yield from complaints("pack", corpus, "--tokenizer", home / "bpe", "-o", tokens, *layout, *fewer)
        yield from complaints("corpus", "select", corpus, "near_duplicates.threshold=0.6", *fewer)
        yield from complaints("corpus", "forget", corpus, "--url", url, "--tokens", tokens)
    if tree == "corpus":
        yield from complaints("corpus", "report", corpus, "-o", home / "report.html")
    if tree == "tokens":
        yield said_by(read_tokens, tokens)
        yield said_by(stream_tokens, tokens)
    if tree == "run":
        yield from complaints("generate", run, "--max-tokens", 2)
        yield from complaints("export", run, "-o", home / "exported")
        attempt = run / "attempts" / "0001"
        if planted.parent in (run, attempt.parent, attempt):  # it reads no others, and drawing takes its time
            yield from complaints("monitor", run)
        yield said_by(samples.write, run, attempt)
        yield said_by(begin_from, home, run)
    if tree == "hf":
        yield from complaints("generate", home / "hf", "--max-tokens", 2)
        yield said_by(begin_from, home, home / "hf")


def complaints(*words: object) -> Iterator[str]:
    ended = cli.run(*words)
    assert ended.returncode in (0, 1, 2), words
    yield ended.stderr if ended.returncode else ""


def said_by(read: Any, *arguments: Any) -> str:
    try:
        read(*arguments)
    except (DataError, RunError, yaml.YAMLError) as error:  # the last, of a process that tells nobody else
        return str(error)
    return ""


def read_tokens(tokens: Path) -> None:
    """As a run does that maps its shards, and verifies them."""
    config, sources = begin(tokens.parent)
    for generation, shard in sources.mapped:
        verify(generation, shard)
    Samples.of(sources, 16, config.run.seed, 4)(0)
    HeldOut.of(sources, 16, 4)(0)


def stream_tokens(tokens: Path) -> None:
    """As a run does that reads them from a bucket."""
    generation = load_generation(tokens, 1)
    stream = StreamedSamples.of(expand(str(tokens / "{shard}"), generation), generation, 16, 1)
    list(islice(stream.numbered(0, 0, 1), 100))


def begin_from(home: Path, start: Path) -> None:
    begin(home, f"run.init_from={start}")


def begin(home: Path, *overrides: str) -> Any:
    """What every process of a run does first."""
    settings = {
        "run": {"dir": str(home / "new")},
        "data": {"tokens": str(home / "tokens")},
        "model": {} if overrides else {"n_layer": 2, "n_head": 2, "d_model": 32, "n_ctx": 16},
        "optimizer": {"lr": 0.01},
        "batch": {"global_batch_size": 4, "batch_size_multiple": 4},
        "train": {"tokens": 128, "eval_sequences": 4},
    }
    (home / "new.yaml").write_text(yaml.safe_dump(settings))
    return load_config(home / "new.yaml", list(overrides))


@pytest.mark.parametrize("kind", ["warc", "wet", "cdx", "text", "jsonl", "parquet"])
def test_a_door_executes_nothing(world: Path, tmp_path: Path, kind: str) -> None:
    marker, brought = tmp_path / "marker", tmp_path / f"brought.{kind}"
    table = tmp_path / "table.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), table)
    brought.write_bytes(extended_parquet(marker, table) if kind == "parquet" else pickled(marker))
    assert cli.run("corpus", "init", tmp_path / "corpus").returncode == 0
    ended = cli.run(
        "corpus", "import", tmp_path / "corpus", brought, "--kind", kind, "--base", tmp_path, "--workers", 1
    )
    assert ended.returncode in (0, 1)
    assert not marker.exists()


@pytest.mark.parametrize("packed", [bytes, zstd.compress])
def test_a_dump_executes_nothing(tmp_path: Path, packed: Any) -> None:
    marker, dump = tmp_path / "marker", tmp_path / "RS_2013-08.zst"
    dump.write_bytes(packed(pickled(marker)))
    assert cli.run("corpus", "init", tmp_path / "corpus").returncode == 0
    ended = cli.run("corpus", "add", tmp_path / "corpus", dump, "--until", "links", "--workers", 1)
    assert ended.returncode in (0, 1), ended.stderr
    assert not marker.exists()


def test_settings_that_are_read_execute_nothing(world: Path, tmp_path: Path) -> None:
    """Runs, recipes, crawls, selections, clusters: a tag that would make an object is no YAML of ours."""
    marker, path = tmp_path / "marker", tmp_path / "file.yaml"
    path.write_bytes(tagged_yaml(marker))
    tag = tagged_yaml(marker).decode().partition(": ")[2].strip()
    good = ROOT / "configs" / "models" / "demo.yaml"
    cluster = ("--nodes", 1, "--gpus-per-node", 1, "--gpu", "a100-80")
    for words in (
        ("train", path),
        ("train", good, f"optimizer.lr={tag}"),
        ("plan", path, *cluster),
        ("corpus", "init", tmp_path / "corpus", "--recipe", path),
        ("corpus", "add", world / "corpus", good, "--crawl", path),
        ("corpus", "select", world / "corpus", f"near_duplicates.threshold={tag}"),
        ("submit", "train", good, "--cluster", path, "--dry-run"),
    ):
        ended = cli.run(*words)
        assert ended.returncode in (1, 2), words
        assert "python/object/apply" in ended.stderr, words
        assert not marker.exists(), words


def test_measures_of_strangers_execute_nothing(world: Path, tmp_path: Path) -> None:
    """Evaluation sets and a quality model, which a recipe names."""
    marker = tmp_path / "marker"
    for name in ("set.jsonl", "set.txt"):
        sets = tmp_path / name.partition(".")[2]
        sets.mkdir()
        (sets / name).write_bytes(pickled(marker))
        ended = cli.run("corpus", "overlap", world / "corpus", "--sets", sets, "-o", tmp_path / "out")
        assert (ended.returncode, name in ended.stderr) == (1, True), ended.stderr
    (tmp_path / "quality.safetensors").write_bytes(saved_by_torch(marker))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: test\ncollect: {quality: quality.safetensors}\n")
    ended = cli.run("corpus", "init", tmp_path / "corpus", "--recipe", recipe)
    assert ended.returncode == 1
    assert "is no quality model" in ended.stderr
    assert not marker.exists()


def test_weights_that_are_a_pickle_are_refused_with_advice(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "hf", tmp_path / "hf")
    (tmp_path / "hf" / "model.safetensors").unlink()
    (tmp_path / "hf" / "pytorch_model.bin").write_bytes(saved_by_torch(tmp_path / "marker"))
    ended = cli.run("generate", tmp_path / "hf")
    assert ended.returncode == 1
    assert "safe_serialization=True" in ended.stderr
    assert not (tmp_path / "marker").exists()


def test_code_that_comes_with_a_model_is_not_run(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "hf", tmp_path / "hf")
    said = json.loads((tmp_path / "hf" / "config.json").read_text())
    said["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "modeling.Model")
    (tmp_path / "hf" / "config.json").write_text(json.dumps(said))
    for name in ("modeling.py", "tokenization.py", "conftest.py"):
        (tmp_path / "hf" / name).write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\nModel = None\n")
    assert cli.run("generate", tmp_path / "hf", "--max-tokens", 2).returncode == 0
    assert not (tmp_path / "marker").exists()


def test_the_name_of_a_shard_is_no_command(world: Path, tmp_path: Path) -> None:
    """It would stand in `pipe:cat {shard}`, which a shell reads."""
    shutil.copytree(world / "tokens", tmp_path / "tokens")
    listing = tmp_path / "tokens" / "generation-1.json"
    body = json.loads(listing.read_text())
    del body["xxh3_128"]
    for name in (f"x.tar; touch {tmp_path / 'marker'}", "../corpus/recipe.yaml", "/etc/passwd", "-o.tar"):
        body["splits"]["train"]["shards"][0]["tar"]["path"] = name
        listing.write_bytes(dump(body))  # a stranger can do that, too
        with pytest.raises(DataError, match="is no name of a file"):
            begin(tmp_path, f"data.stream=pipe:cat {tmp_path}/tokens/{{shard}}")
        ended = cli.run("corpus", "verify", world / "corpus", "--tokens", tmp_path / "tokens")
        assert "is no name of a file" in ended.stdout + ended.stderr
    assert not (tmp_path / "marker").exists()


def test_a_file_that_is_called_like_a_command_is_read_as_a_file(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = load_generation(world / "tokens", 1)
    first, *_ = [generation.path(shard) for shard in generation.splits["train"].shards]
    shutil.copy(first, tmp_path / f"pipe:touch marker {first.name}")
    monkeypatch.chdir(tmp_path)
    stream = StreamedSamples.of(expand("*.tar", generation), generation, 16, 1)
    assert len(next(stream.numbered(0, 0, 1))[1]) == 17
    assert not (tmp_path / "marker").exists()


def test_modules_in_the_folder_where_the_user_stands_are_not_imported(tmp_path: Path) -> None:
    """By no process that a command starts: each would look there first."""
    installed, strange = tmp_path / "bin" / "outbound", tmp_path / "strange"
    for directory in (installed.parent, strange):
        directory.mkdir()
    installed.write_text("from pipeline.cli.main import main\nif __name__ == '__main__':\n    main()\n")
    for name in ("multiprocessing", "msgspec", "pickle", "pipeline", "dataprep", "numpy"):
        (strange / f"{name}.py").write_text("open('marker', 'w')\n")
    for name in ("a", "b"):
        (strange / f"{name}.txt").write_text(packed_corpus.TEXTS[0])
    for words in (
        ["corpus", "init", "corpus"],
        ["corpus", "import", "corpus", "a.txt", "b.txt", "--kind", "text", "--workers", "2"],
    ):
        done = subprocess.run(
            [sys.executable, installed, *words], cwd=strange, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert not (strange / "marker").exists()
