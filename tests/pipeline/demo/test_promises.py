"""A broken promise is named, a kept one is silent."""

from pipeline.demo.library import Page
from pipeline.demo.promises import Seam, broken_by_crawl, broken_by_training, find_seam
from pipeline.demo.sites import FORBIDDEN, LIBRARY, build
from pipeline.demo.web import Request


def asked(path: str, status: int = 200) -> Request:
    return Request(LIBRARY, path, status, "outbound")


def test_a_polite_crawl_that_repeats_nothing_breaks_nothing(few_pages: list[Page]) -> None:
    sites = build(few_pages)
    target = next(answer.location for answer in sites.answers.values() if answer.location.startswith("/page"))
    months = [
        [asked("/robots.txt"), asked("/a"), asked(target)],
        [asked("/robots.txt"), asked("/b"), asked(target)],
    ]
    assert broken_by_crawl(months, sites) == []


def test_a_forbidden_page_and_a_repeated_one_are_named(few_pages: list[Page]) -> None:
    broken = broken_by_crawl([[asked(FORBIDDEN), asked("/a")], [asked("/a")]], build(few_pages))
    assert len(broken) == 2
    assert FORBIDDEN in broken[0]
    assert f"http://{LIBRARY}/a" in broken[1]


def test_a_loss_over_the_entropy_and_a_missing_stop_are_named() -> None:
    assert broken_by_training(5.0, 6.0, Seam(10, 5.5, 5.4, 0.1)) == []
    assert "unigram" in broken_by_training(6.1, 6.0, Seam(10, 5.5, 5.4, 0.1))[0]
    assert "not stopped" in broken_by_training(5.0, 6.0, None)[0]
    assert "jumps" in broken_by_training(5.0, 6.0, Seam(10, 5.5, 8.4, 0.1))[0]


def test_the_seam_is_measured_against_its_neighbours() -> None:
    losses = {step: 9.0 - 0.1 * step for step in range(1, 30)}
    seam = find_seam(losses, [10])
    assert seam is not None
    assert (seam.step, seam.before, seam.after) == (10, losses[10], losses[11])
    assert not seam.shows
    shifted = losses | {step: losses[step] + 1 for step in range(11, 30)}
    jumped = find_seam(shifted, [10])
    assert jumped is not None
    assert jumped.shows
    assert find_seam(losses, []) is None
