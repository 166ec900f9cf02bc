"""The dumps have the true format and every oddity of real ones, and are the same for the same seed."""

import json
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from pipeline.demo.dumps import BAR, BROKEN, FIRST_ID, write_dumps
from pipeline.demo.library import DocPage
from pipeline.demo.sites import build

FIELDS = (
    "id name created_utc subreddit subreddit_id title score ups downs num_comments domain url permalink "
    "is_self over_18 selftext"
).split()
Row = dict[str, Any]


@pytest.fixture(scope="module")
def dumps(few_pages: list[DocPage], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_dumps(build(few_pages).links, tmp_path_factory.mktemp("dumps"))


def lines(dump: Path) -> list[bytes]:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 31}
    with zstd.open(dump, "rb", options=options) as file:
        return file.read().splitlines()


@pytest.fixture(scope="module")
def months(dumps: list[Path]) -> list[list[Row]]:
    return [[json.loads(line) for line in lines(dump) if line != BROKEN] for dump in dumps]


def test_the_dumps_need_the_two_gigabyte_window_of_the_real_ones(dumps: list[Path]) -> None:
    for dump in dumps:
        assert zstd.get_frame_info(dump.read_bytes()[:18]).decompressed_size is None
        with pytest.raises(zstd.ZstdError), zstd.open(dump, "rb") as file:
            file.read()
        assert lines(dump).count(BROKEN) == 1


def test_rows_have_the_fields_of_the_real_dumps_and_lie_in_their_month(months: list[list[Row]]) -> None:
    august, september, october = 1375315200, 1377993600, 1380585600
    assert all(august <= row["created_utc"] < september for row in months[0])
    late = [row for row in months[1] if not september <= row["created_utc"] < october]
    assert late
    assert {row["id"] for row in late} <= {row["id"] for row in months[0]}
    for rows in months:
        assert all(list(row) == FIELDS for row in rows)
        assert all(int(row["id"], 36) >= FIRST_ID and row["name"] == f"t3_{row['id']}" for row in rows)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    few_pages: list[DocPage], dumps: list[Path], tmp_path: Path
) -> None:
    links = build(few_pages).links
    again = write_dumps(links, tmp_path / "again")
    other = write_dumps(links, tmp_path / "other", seed=1)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in dumps]
    assert [path.read_bytes() for path in other] != [path.read_bytes() for path in dumps]


def test_every_oddity_of_real_dumps_occurs(months: list[list[Row]]) -> None:
    first, second = months
    rows = first + second
    urls = [row["url"] for row in rows]
    assert any("utm_source=reddit&amp;utm_medium=social" in url for url in urls)
    assert any("#" in url for url in urls)
    assert any(url.startswith("https://docs") and "http" + url[5:] in urls for url in urls)
    assert any(row["is_self"] and row["selftext"] and row["domain"].startswith("self.") for row in rows)
    assert any(row["over_18"] for row in rows)
    assert any("reddit.com" in row["url"] and not row["is_self"] for row in rows)
    assert any(url.endswith(".png") for url in urls)
    assert any(isinstance(row["score"], str) for row in rows)
    for month in months:
        ids = [row["id"] for row in month]
        assert len(set(ids)) < len(ids)
    assert {row["id"] for row in first} & {row["id"] for row in second}


def test_some_links_never_reach_the_bar_and_some_reach_it_in_the_second_month(
    months: list[list[Row]],
) -> None:
    best: list[dict[str, int]] = [{}, {}]
    for month, rows in zip(best, months, strict=True):
        for row in rows:
            month[row["url"]] = max(int(row["score"]), month.get(row["url"], 0))
    late = [url for url, score in best[0].items() if score < BAR <= best[1].get(url, 0)]
    never = [url for url, score in best[0].items() if score < BAR and best[1].get(url, 0) < BAR]
    again = [url for url, score in best[0].items() if score >= BAR and url in best[1]]
    assert late
    assert never
    assert again


def test_scores_have_a_heavy_tail(months: list[list[Row]]) -> None:
    scores = sorted(int(row["score"]) for rows in months for row in rows)
    assert 30 <= scores[len(scores) // 2] <= 100
    assert scores[-1] > 1_000
