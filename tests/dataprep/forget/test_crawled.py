"""After `forget`, no byte of the text is found in any file of the corpus and of its token shards."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from dataprep.audit.verify import problems, unknown
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, NearDuplicates, Recipe, Select
from dataprep.corpus.tombstones import Forgotten
from dataprep.forget.run import begin
from dataprep.forget.scope import of_site
from dataprep.warc.reader import record_in
from support.cli import result, run
from support.leaks import contents

PAGE = "<html><head><title>{0}</title></head><body><article><p>{1}</p></article></body></html>"
WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train".split()
RECIPE = Recipe(
    name="forgetful",
    collect=Collect(partition_mb=0.01),
    select=Select(near_duplicates=NearDuplicates()),
)


def mark(name: str) -> str:
    """A word that only one page holds, in its title and in its text."""
    return f"zyx{name}xyz"


def text_of(name: str) -> str:
    """A text with the page's mark at its beginning, in its middle and at its end."""
    words = random.Random(name).choices(WORDS, k=150)
    return " ".join([mark(name), *words[:70], mark(name), *words[70:], mark(name)])


@pytest.fixture(scope="module")
def original(shared_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two increments: ten pages each on three sites, one seen twice, one that moved, one redirected."""
    site, desk = shared_site, tmp_path_factory.mktemp("desk")
    for n in range(20):
        site.html(f"http://site-{n % 3}.test/{n}", PAGE.format(mark(str(n)), text_of(str(n))))
    site.status("http://site-0.test/hop", 302, Location="/hopped")
    site.html("http://site-0.test/hopped", PAGE.format("hop", text_of("hop")))
    site.status("http://site-1.test/away", 302, Location="http://site-2.test/moved")
    site.html("http://site-2.test/moved", PAGE.format("moved", text_of("moved")))
    site.html("http://site-0.test/near", PAGE.format("near", text_of("4").replace(mark("4"), "lantern")))
    extra = [["http://site-0.test/hop", "http://site-1.test/away"], ["http://site-0.test/near"]]
    for month in range(2):
        links = [f"http://site-{n % 3}.test/{n}" for n in range(month * 10, month * 10 + 10)] + extra[month]
        posts = [post(f"m{month}p{n}", url, 1000 * month + n) for n, url in enumerate(links)]
        again = [post("again", links[0], 500)] if not month else []
        (desk / f"{month}.json").write_text("\n".join(map(json.dumps, posts + again)))
    root = desk / "corpus"
    Corpus.create(root, RECIPE)
    for month in range(2):
        add(root, desk / f"{month}.json", site)
    result("corpus", "report", root)
    result(
        "tokenizer", "train", root, "-o", desk / "bpe", "--vocab-size", 300
    )  # so few that no whole word is among them
    packing = ["--held-out", 0.3, "--block-tokens", 600, "--shard-blocks", 2, "--workers", 1]
    result("pack", root, "--tokenizer", desk / "bpe", "-o", desk / "tokens", *packing)
    return root


@pytest.fixture
def made(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "corpus"


def post(identifier: str, url: str, second: int) -> dict[str, Any]:
    return {"id": identifier, "url": url, "score": 9, "created_utc": second, "subreddit": "x"}


def add(root: Path, dump: Path, site: Any) -> Any:
    crawl = ["--allow-loopback", f"--connect-to=::127.0.0.1:{site.port}", "--delay=0", "--workers=1"]
    return result("corpus", "add", root, dump, *crawl)


def found(root: Path, names: list[str]) -> dict[str, list[str]]:
    """In which files the mark of each name is found, decompressed and decoded."""
    tokens = root.parent / "tokens"
    seen: dict[str, list[str]] = {name: [] for name in names}
    for path, data in [*contents(root), *contents(tokens)]:
        for name in names:
            if mark(name).encode() in data:
                seen[name].append(str(path.relative_to(root.parent)))
    return seen


def kinds_of(paths: list[str]) -> set[str]:
    return {Path(path).suffix for path in paths}


def offsets(root: Path) -> dict[str, list[tuple[int, int]]]:
    """Where each record of each WARC file stands, as warcio reads them."""
    places = {}
    for path in sorted(root.glob("increments/*/pages/*.warc.gz")):
        with path.open("rb") as file:
            records = ArchiveIterator(file, check_digests="raise")
            places[path.name] = [(records.get_record_offset(), records.get_record_length()) for _ in records]
    return places


CASES = {
    "url": (["--url", "http://site-1.test/4"], ["4"]),
    "redirect": (["--url", "http://site-0.test/hopped"], ["hop"]),
    "moved": (["--url", "http://site-1.test/away"], ["moved"]),
    "site": (["--site", "site-2.test"], ["2", "5", "8", "11", "14", "17", "moved"]),
    "submission": (["--submission", "m1p3"], ["13"]),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case == "url" else pytest.mark.slow(1)) for case in CASES]
)
def test_nothing_of_it_is_left_and_everything_else_stands(made: Path, case: str) -> None:
    asked, names = CASES[case]
    others = sorted({*map(str, range(20)), "hop", "moved"} - {*names})
    before, places = found(made, names + others), offsets(made)
    for name in names:
        assert kinds_of(before[name]) >= {".gz", ".parquet", ".tar", ".json"}, before[name]
    words = ["corpus", "forget", made, *asked, "--tokens", made.parent / "tokens"]
    state = {path: path.read_bytes() for path in made.parent.rglob("*") if path.is_file()}
    foreseen = result(*words, "--dry-run")
    assert {path: path.read_bytes() for path in made.parent.rglob("*") if path.is_file()} == state
    forgot = result(*words)
    assert forgot["documents"] == len(names)
    assert forgot["tokens"] == {str(made.parent / "tokens"): len(names)}
    assert foreseen == forgot | {"dry_run": True, "urls": foreseen["urls"]}
    assert len(foreseen["urls"]) == forgot["links"] == len(names)
    after = found(made, names + others)
    assert {name: after[name] for name in names} == {name: [] for name in names}
    for name in others:
        removed = {".html"}  # the report, which shows some documents
        assert kinds_of(after[name]) == kinds_of(before[name]) - removed, name
    assert offsets(made) == places
    corpus = Corpus.open(made)
    assert list(problems(corpus)) == []
    assert unknown(corpus) == []
    assert result("corpus", "verify", made, "--tokens", made.parent / "tokens")["problems"] == []


@pytest.mark.slow(1)
def test_what_is_forgotten_stays_out(made: Path, shared_site: Any) -> None:
    """By its URL, by its site, by its submission, and by a redirect to it; each is counted as that."""
    for asked in (CASES["url"][0], CASES["site"][0], ["--submission", "unseen"]):
        result("corpus", "forget", made, *asked, "--tokens", made.parent / "tokens")
    shared_site.status("http://site-0.test/to-4", 302, Location="http://site-1.test/4")
    links = ["http://site-1.test/4?utm_source=x", "http://www.site-2.test/new", "http://site-0.test/1"]
    links += ["http://site-0.test/to-4", "http://site-0.test/new"]
    shared_site.html("http://site-0.test/new", PAGE.format("new", text_of("new")))
    posts = [post(f"late{n}", url, 5000 + n) for n, url in enumerate(links)]
    posts[2]["id"] = "unseen"
    (made.parent / "late.json").write_text("\n".join(map(json.dumps, posts)))
    funnel = add(made, made.parent / "late.json", shared_site)["funnel"]
    assert funnel[0]["reasons"]["forgotten"] == 3
    assert funnel[1]["reasons"] == {"forgotten": 1}
    assert found(made, ["4", "2"]) == {"4": [], "2": []}
    assert found(made, ["new"])["new"]


def test_a_submission_leaves_the_list_of_a_link_that_stands_by_another(made: Path) -> None:
    before = result("corpus", "trace", made, "http://site-0.test/0")
    assert [each["id"] for each in before["links"][0]["submissions"]] == ["m0p0", "again"]
    told = run("corpus", "forget", made, "--submission", "again").stdout.splitlines()
    assert told == ["forgotten, and kept out: 0 links, 0 documents", "1 links stay without the submission"]
    after = result("corpus", "trace", made, "http://site-0.test/0")
    assert [each["id"] for each in after["links"][0]["submissions"]] == ["m0p0"]
    assert after["documents"][0]["verdict"] == "kept"
    assert not [path for path, data in contents(made / "increments") if b"again" in data]
    assert not [path for path, data in contents(made / "builds") if b"again" in data]
    assert result("corpus", "verify", made)["problems"] == []


@pytest.mark.slow(2)
def test_a_copy_that_was_displaced_stays_dropped_also_in_another_build(made: Path) -> None:
    result("corpus", "forget", made, "--url", "http://site-1.test/4")
    for threshold in (0.8, 0.7):
        result("corpus", "select", made, f"near_duplicates.threshold={threshold}")
        near = result("corpus", "trace", made, "http://site-0.test/near")["documents"][0]
        assert (near["verdict"], near["text"]) == ("near_duplicate", [])
        gone = result("corpus", "trace", made, near["repeats"])
        assert (gone["verdict"], gone["url"], gone["text"]) == ("forgotten", "", [])
    shown = run("corpus", "trace", made, near["repeats"], "--show")
    assert (shown.returncode, "was forgotten" in shown.stderr) == (1, True)


def test_tokens_keep_their_places_and_a_pack_goes_on(made: Path, shared_site: Any) -> None:
    tokens = made.parent / "tokens"
    before = result("corpus", "trace", made, "http://site-1.test/4", "--tokens", tokens)
    place = before["documents"][0]["tokens"][0]
    result("corpus", "forget", made, "--url", "http://site-1.test/4")
    told = run("corpus", "verify", made, "--tokens", tokens)
    assert (told.returncode, "corpus forget" in told.stdout) == (1, True)
    assert result("corpus", "forget", made, "--tokens", tokens)["tokens"] == {str(tokens): 1}
    assert result("corpus", "forget", made, "--tokens", tokens)["tokens"] == {str(tokens): 0}
    where = ["--tokens", tokens, "--position", place["start"], "--split", place["split"]]
    traced = run("corpus", "trace", made, *where)
    assert (traced.returncode, "is forgotten" in traced.stderr) == (1, True)
    where[3] = place["end"]
    assert result("corpus", "trace", made, *where)["token"]["in_document"] == 0
    packing = ["--held-out", 0.3, "--block-tokens", 600, "--shard-blocks", 2, "--workers", 1]
    again = result("pack", made, "--tokenizer", made.parent / "bpe", "-o", tokens, *packing)
    assert again["generation"] == 1


def test_a_token_leads_to_its_warc_record_and_submission_and_these_lead_to_it(original: Path) -> None:
    tokens = ["--tokens", original.parent / "tokens"]
    (document,) = result("corpus", "trace", original, "m0p4", *tokens)["documents"]
    assert [each["id"] for each in document["submissions"]] == ["m0p4"]
    content = (original / document["warc_file"]).read_bytes()[document["warc_offset"] :]
    record = record_in(content[: document["warc_length"]])
    assert (record.url, record.kind) == (document["url"], "response") == ("http://site-1.test/4", "response")
    assert mark("4").encode() in record.block
    (place,) = document["tokens"]
    for inside in (place["start"], (place["start"] + place["end"]) // 2, place["end"] - 1):
        where = ["--position", inside, "--split", place["split"]]
        found = result("corpus", "trace", original, *tokens, *where)
        assert found.pop("token")["in_document"] == inside - place["start"]
        assert found == document


def test_mistakes_are_told(made: Path, shared_site: Any) -> None:
    for words, code, message in (
        ([], 2, "nothing to forget; give --url"),
        (["--url", "http://a.test/", "--site", "a.test"], 2, "one of"),
        (["--site", "www.site-2.test"], 1, "'site-2.test' may be meant"),
        (["--tokens", str(made.parent / "bpe")], 1, "no generation-N.json"),
    ):
        ended = run("corpus", "forget", made, *words)
        assert (ended.returncode, message in ended.stderr) == (code, True), ended.stderr
    assert Forgotten.of(made).url_keys == frozenset()


def test_no_other_command_works_until_a_forget_is_finished(made: Path) -> None:
    corpus = Corpus.open(made)
    begin(corpus, of_site(corpus, "site-2.test"))  # and the command was killed
    for words in (["status"], ["verify"], ["select"], ["gc"], ["trace", "http://site-0.test/0"]):
        ended = run("corpus", words[0], made, *words[1:])
        assert (ended.returncode, "finishes it" in ended.stderr) == (1, True), words
    assert result("corpus", "forget", made)["documents"] == 7
    funnel = {each["stage"]: each for each in result("corpus", "status", made)["funnel"]}
    assert funnel["forget"]["reasons"] == {"forgotten": 7}
    assert funnel["forget"]["entered"] == funnel["dedup"]["passed"]
    assert run("corpus", "forget", made).returncode == 2
    assert result("corpus", "forget", made, "--site", "site-2.test")["documents"] == 0
    tombstone = made / "forgotten" / "0001.json"
    tombstone.rename(made.parent / "lost.json")
    for words in (["status"], ["verify"], ["select"]):  # else the site would come in again
        assert f"{tombstone}: is missing; restore it" in run("corpus", words[0], made).stderr
