"""The corpus commands from outside: a web on loopback, dumps on disk, `outbound` as a user runs it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from dataprep import steps
from support.cli import run as outbound
from support.ready_corpus import add_pages, make_corpus

PROSE = (
    "Chapter {n}. The {n} ships of the northern fleet sailed at dawn with the tide and the {n} winds. " * 12
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A site whose page /N holds a chapter of its own; /moved leaves for another site."""

    async def chapter(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "moved":
            raise web.HTTPFound("http://other.test/9")
        if name == "robots.txt":
            raise web.HTTPNotFound
        text = PROSE.format(n=name)
        page = f"<html><body><article><h1>{name}</h1><p>{text}</p></article></body></html>"
        return web.Response(text=page, content_type="text/html")

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{name}", chapter)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    loop = asyncio.new_event_loop()
    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield runner.addresses[0][1]
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def dump(path: Path, *names: str) -> Path:
    posts = [
        {"id": name, "url": f"http://site.test/{name}", "score": 9, "created_utc": 100 + at, "subreddit": "x"}
        for at, name in enumerate(names)
    ]
    path.write_text("\n".join(map(json.dumps, posts)))
    return path


def test_a_corpus_grows_is_looked_at_and_every_hash_is_checked(tmp_path: Path, port: int) -> None:
    corpus = tmp_path / "corpus"
    crawl = ["--allow-loopback", f"--connect-to=::127.0.0.1:{port}", "--delay=0", "--workers=1", "--json"]
    assert outbound("corpus", "init", corpus, "--recipe", "demo").returncode == 0
    first = dump(tmp_path / "RS_1.json", "1", "2", "moved")
    added = outbound("corpus", "add", corpus, first, *crawl)
    assert added.returncode == 0, added.stderr
    stages = {count["stage"]: count for count in json.loads(added.stdout)["funnel"]}
    assert (stages["links"]["passed"], stages["fetch"]["passed"], stages["dedup"]["passed"]) == (3, 3, 3)

    again = outbound("corpus", "add", corpus, first, *crawl)
    assert json.loads(again.stdout) == json.loads(added.stdout)
    second = outbound("corpus", "add", corpus, dump(tmp_path / "RS_2.json", "2x", "1"), *crawl)
    stages = {count["stage"]: count for count in json.loads(second.stdout)["funnel"]}
    assert stages["links"]["reasons"]["repeated_submission"] == 1
    assert stages["fetch"]["entered"] == 4

    status = json.loads(outbound("corpus", "status", corpus, "--json").stdout)
    assert [each["closed"] for each in status["increments"]] == [True, True]
    tar = next(corpus.glob("builds/*/*/shard/*.tar"))
    with tarfile.open(tar) as archive:
        key = archive.getnames()[0].partition(".")[0]
    traced = json.loads(outbound("corpus", "trace", corpus, key, "--json").stdout)
    assert traced["verdict"] == "kept"
    assert traced["submissions"][0]["score"] == 9

    assert outbound("corpus", "report", corpus).returncode == 0
    assert "<svg" in (corpus / "report.html").read_text()

    assert outbound("corpus", "verify", corpus).returncode == 0
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    damaged = outbound("corpus", "verify", corpus, "--json")
    assert damaged.returncode == 1
    (problem,) = json.loads(damaged.stdout)["problems"]
    assert problem.startswith(
        f"{tar.relative_to(corpus)}: its content has changed; restore it from a copy, or"
    )


@pytest.mark.slow(2)
def test_a_machine_that_is_cut_off_loses_no_month(tmp_path: Path, port: int) -> None:
    corpus = tmp_path / "corpus"
    outbound("corpus", "init", corpus, "--recipe", "demo")
    month = dump(tmp_path / "RS_2013-08.json", "1", "2")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"--connect-to=::127.0.0.1:{closed.getsockname()[1]}"
    offline = outbound("corpus", "add", corpus, month, "--allow-loopback", nobody, "--delay=0", "--workers=1")
    assert offline.returncode == 1
    assert "0 of 2 links gave a page (2 connect_error), and 50% must" in offline.stderr
    assert outbound("corpus", "drop", corpus, "2013-08").returncode == 0
    online = ["--allow-loopback", f"--connect-to=::127.0.0.1:{port}", "--delay=0", "--workers=1"]
    assert outbound("corpus", "add", corpus, month, *online).returncode == 0
    dropped = outbound("corpus", "drop", corpus, "2013-08")
    assert (dropped.returncode, "its facts stay" in dropped.stderr) == (1, True)


@pytest.mark.slow(2)
def test_a_crawl_with_too_few_pages_is_not_finished_until_fewer_are_asked_for(
    tmp_path: Path, port: int
) -> None:
    """Half of the links are enough: the third link is one that the site refuses."""
    corpus = tmp_path / "corpus"
    outbound("corpus", "init", corpus, "--recipe", "demo")
    crawl = ["--allow-loopback", f"--connect-to=::127.0.0.1:{port}", "--delay=0", "--workers=1"]
    half = dump(tmp_path / "RS_2013-08.json", "1", "a/b")
    assert outbound("corpus", "add", corpus, half, *crawl).returncode == 0
    third = dump(tmp_path / "RS_2013-09.json", "2", "c/d", "e/f")
    for _ in range(2):  # the same again changes nothing
        few = outbound("corpus", "add", corpus, third, *crawl)
        assert few.returncode == 1
        assert "1 of 3 links gave a page (2 not_found, 1 ok), and 50% must" in few.stderr
    closed = [
        each["closed"]
        for each in json.loads(outbound("corpus", "status", corpus, "--json").stdout)["increments"]
    ]
    assert closed == [True, False]
    assert outbound("corpus", "add", corpus, third, *crawl, "--min-pages=0.33").returncode == 0


def test_a_dump_that_was_cut_short_is_told_and_can_be_replaced(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    outbound("corpus", "init", corpus, "--recipe", "demo")
    whole = dump(tmp_path / "RS_2013-08.json", "1", "2", "3").read_text()
    cut = tmp_path / "RS_2013-08.json"
    cut.write_text("nothing of the kind")
    garbage = outbound("corpus", "add", corpus, cut, "--until", "links")
    assert (garbage.returncode, "holds no submission" in garbage.stderr) == (1, True)
    cut.write_text(whole[:-20])
    short = outbound("corpus", "add", corpus, cut, "--until", "links")
    assert (short.returncode, "is not whole" in short.stderr) == (1, True)
    added = outbound("corpus", "add", corpus, cut, "--until", "links", "--allow-truncated", "--json")
    assert json.loads(added.stdout)["damage"][0]["bad_lines"] == 1
    status = json.loads(outbound("corpus", "status", corpus, "--json").stdout)
    assert status["increments"][0]["damage"][0]["bad_lines"] == 1
    cut.write_text(whole)
    refused = outbound("corpus", "add", corpus, cut, "--until", "links")
    assert (refused.returncode, "corpus drop" in refused.stderr) == (1, True)
    outbound("corpus", "drop", corpus, "2013-08")
    assert (
        json.loads(outbound("corpus", "add", corpus, cut, "--until", "links", "--json").stdout)["damage"]
        == []
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "the file is empty"),
        ("import json\n\nprint(json)\n", "none of its 3 lines is one, line 1: "),
        (
            '{"id": "zz"}\n{"id": "zy"}\n',
            "none of its 2 lines is one, id zz: score None and created_utc None",
        ),
    ],
)
def test_a_file_without_submissions_is_refused_and_leaves_no_increment(
    tmp_path: Path, content: str, why: str
) -> None:
    corpus = tmp_path / "corpus"
    outbound("corpus", "init", corpus, "--recipe", "demo")
    strange = tmp_path / "0001.py"
    strange.write_text(content)
    refused = outbound("corpus", "add", corpus, strange, "--until", "links")
    assert (refused.returncode, f"holds no submission ({why}" in refused.stderr) == (1, True), refused.stderr
    right = outbound("corpus", "add", corpus, dump(tmp_path / "RS_2.json", "1"), "--until", "links")
    assert right.returncode == 0, right.stderr
    assert [path.name for path in (corpus / "increments").glob("[0-9]*")] == ["0001-2"]


def test_a_submission_without_its_numbers_is_named_on_the_terminal(tmp_path: Path) -> None:
    corpus, month = tmp_path / "corpus", dump(tmp_path / "RS_1.json", "1", "2")
    outbound("corpus", "init", corpus, "--recipe", "demo")
    month.write_text(month.read_text() + '\n{"id": "zz"}\nnone\n')
    added = outbound("corpus", "add", corpus, month, "--until", "links", "--json")
    told = json.loads(added.stdout)
    assert (told["damage"][0]["bad_lines"], told["damage"][0]["lines"]) == (2, 4)
    assert told["funnel"][0]["reasons"] == {"bad_record": 2}
    assert "2 of 4 are damaged" in added.stderr
    assert "id zz: score None and created_utc None are not both numbers" in added.stderr
    assert "line 4: " in added.stderr


def test_what_did_not_enter_is_told_apart_from_what_was_never_seen(tmp_path: Path) -> None:
    corpus, month = tmp_path / "corpus", tmp_path / "RS_1.json"
    outbound("corpus", "init", corpus, "--recipe", "webtext")
    common = {"created_utc": 100, "subreddit": "x"}
    posts = [
        {"id": "a", "url": "http://site.test/high", "score": 9, **common},
        {"id": "zzzzzz", "url": "http://site.test/low", "score": 2, **common},
    ]
    month.write_text("\n".join(map(json.dumps, posts)))
    assert outbound("corpus", "add", corpus, month, "--until", "links").returncode == 0
    assert outbound("corpus", "trace", corpus, "a").returncode == 0
    for what, why in {
        "zzzzzz": "was counted in",
        "http://site.test/low": "its karma so far, 2, is below the bar",
        "b": "knows no such submission",
        "http://site.test/other": "knows no such url",
    }.items():
        told = outbound("corpus", "trace", corpus, what)
        assert (told.returncode, why in told.stderr) == (1, True), told.stderr


def test_an_empty_corpus_and_an_empty_build_name_the_way_on(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", min_words=1000)
    pack = ["pack", corpus.root, "--tokenizer", tmp_path / "bpe", "-o", tmp_path / "tokens"]
    train = ["tokenizer", "train", corpus.root, "-o", tmp_path / "bpe"]
    diff = ["corpus", "diff", corpus.root]
    for command in (diff, pack, train):
        told = outbound(*command)
        assert (told.returncode, "an increment has to be finished first" in told.stderr) == (1, True), (
            told.stderr
        )
    add_pages(corpus, "one", [(1, "http://a.test/1", "a text of few words")])
    assert f"corpus select {corpus.root}" in outbound(*diff).stderr
    assert outbound("corpus", "select", corpus.root).returncode == 0
    for command in (pack, train):
        assert "select less strictly" in " ".join(outbound(*command).stderr.split())


def test_another_selection_is_another_build_of_the_same_facts(tmp_path: Path, port: int) -> None:
    corpus = tmp_path / "corpus"
    outbound("corpus", "init", corpus, "--recipe", "demo")
    crawl = ["--allow-loopback", f"--connect-to=::127.0.0.1:{port}", "--delay=0", "--workers=1"]
    outbound("corpus", "add", corpus, dump(tmp_path / "RS.json", "1", "2"), *crawl)
    facts = {path: path.stat().st_mtime_ns for path in corpus.glob("increments/**/*")}
    chosen = outbound("corpus", "select", corpus, "min_words=100000", "--json")
    assert chosen.returncode == 0, chosen.stderr
    assert json.loads(chosen.stdout)["funnel"][-2]["reasons"] == {"min_words": 2}
    assert {path: path.stat().st_mtime_ns for path in corpus.glob("increments/**/*")} == facts


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["corpus", "init", "DIR", "--recipe", "nonsense"], 2, "webtext"),
        (["corpus", "status", "DIR"], 1, "no corpus here"),
        (["corpus", "add", "DIR", "missing.zst"], 2, "no such dump"),
        (["corpus", "add"], 2, "Missing argument"),
        (["corpus", "add", "DIR", "pyproject.toml", "--until", "never"], 2, "one of dumps, links"),
        (["corpus", "add", "DIR", "pyproject.toml", "--contact", "me"], 2, "--contact: 'me' is neither"),
        (["corpus", "add", "DIR", "configs"], 2, "configs: is a directory; name the dumps in it"),
        (
            ["corpus", "add", "DIR", "pyproject.toml", "--allow-loopback", "--connect-to", "foo"],
            2,
            "::127.0.0.1:8080",
        ),
        (
            ["corpus", "add", "DIR", "pyproject.toml", "--allow-loopback", "--ca-file", "gone.pem"],
            2,
            "gone.pem",
        ),
        (["tokenizer", "train", "DIR", "-o", "y", "--vocab-size", "100"], 2, "Invalid value"),
        (["corpus", "frobnicate"], 2, "No such command"),
        (["pack", "DIR", "--tokenizer", "x", "-o", "y"], 1, "no corpus here"),
    ],
)
def test_mistakes_are_one_line_with_a_remedy(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    result = outbound(*[str(tmp_path) if each == "DIR" else each for each in arguments])
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_help_of_every_command_is_quick_and_imports_no_torch() -> None:
    from typer.main import get_command

    from pipeline.cli import main  # noqa: F401 (registers the commands)
    from pipeline.cli.app import app

    code = (
        "import sys; from pipeline.cli.main import main; assert not {'torch', 'deepspeed'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    root = get_command(app)
    for name in root.commands:  # type: ignore[attr-defined]
        assert outbound(name, "--help").returncode == 0


def test_help_names_the_steps_at_which_add_can_stop() -> None:
    words = " ".join(outbound("corpus", "add", "--help").stdout.replace("│", " ").split())
    assert f"{', '.join(steps.UNTIL[:-1])} or {steps.UNTIL[-1]}." in words
