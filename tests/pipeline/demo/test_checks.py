"""A check reports what failed, and nothing when all is well."""

from pipeline.demo.checks import ResumePoint, check_crawl, check_training, find_resume_point
from pipeline.demo.library import DocPage
from pipeline.demo.sites import FORBIDDEN, LIBRARY, build
from pipeline.demo.web import Request


def asked(path: str, status: int = 200) -> Request:
    return Request(LIBRARY, path, status, "outbound")


def test_a_polite_crawl_that_repeats_nothing_breaks_nothing(few_pages: list[DocPage]) -> None:
    sites = build(few_pages)
    target = next(answer.location for answer in sites.answers.values() if answer.location.startswith("/page"))
    months = [
        [asked("/robots.txt"), asked("/a"), asked(target)],
        [asked("/robots.txt"), asked("/b"), asked(target)],
    ]
    assert check_crawl(months, sites) == []


def test_a_forbidden_page_and_a_repeated_one_are_named(few_pages: list[DocPage]) -> None:
    failures = check_crawl([[asked(FORBIDDEN), asked("/a")], [asked("/a")]], build(few_pages))
    assert len(failures) == 2
    assert FORBIDDEN in failures[0]
    assert f"http://{LIBRARY}/a" in failures[1]


def test_a_loss_over_the_entropy_and_a_missing_stop_are_named() -> None:
    assert check_training(5.0, 6.0, ResumePoint(10, 5.5, 5.4, 0.1)) == []
    assert "unigram" in check_training(6.1, 6.0, ResumePoint(10, 5.5, 5.4, 0.1))[0]
    assert "not stopped" in check_training(5.0, 6.0, None)[0]
    assert "jumps" in check_training(5.0, 6.0, ResumePoint(10, 5.5, 8.4, 0.1))[0]


def test_the_seam_is_measured_against_its_neighbours() -> None:
    losses = {step: 9.0 - 0.1 * step for step in range(1, 30)}
    resume_point = find_resume_point(losses, [10])
    assert resume_point is not None
    assert (resume_point.step, resume_point.before, resume_point.after) == (10, losses[10], losses[11])
    assert not resume_point.is_visible
    shifted = losses | {step: losses[step] + 1 for step in range(11, 30)}
    jumped = find_resume_point(shifted, [10])
    assert jumped is not None
    assert jumped.is_visible
    assert find_resume_point(losses, []) is None
