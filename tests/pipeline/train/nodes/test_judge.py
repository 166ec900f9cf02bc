"""Which nodes are bad, by what their ranks have found and measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.train.nodes.judge import Facts, Speed, reasons, ring, slow, unlike

GOOD = Facts(
    node="",
    device="cpu",
    same={"torch": "2.13.0", "the hash of the configuration": "f00d"},
    sees_run=True,
    run_free_bytes=10**12,
    temporary_free_bytes=10**10,
)
NODES = ["a", "a", "b", "b", "c", "c"]


def judged(
    changes: dict[int, dict[str, Any]], offsets_s: dict[int, float], nodes: list[str]
) -> dict[str, str]:
    facts = [replace(GOOD, node=node, **changes.get(rank, {})) for rank, node in enumerate(nodes)]
    return reasons(unlike(facts, [offsets_s.get(rank, 0.0) for rank in range(len(nodes))]))


@pytest.mark.parametrize(
    ("changes", "offsets_s", "bad"),
    [
        ({}, {}, {}),
        ({3: {"same": GOOD.same | {"torch": "2.6.0"}}}, {}, {"b": "torch is 2.6.0, elsewhere 2.13.0"}),
        (
            {rank: {"same": GOOD.same | {"torch": "2.6.0"}} for rank in (0, 1)},  # also when it is the first
            {},
            {"a": "torch is 2.6.0, elsewhere 2.13.0"},
        ),
        (
            {4: {"same": {"torch": "2.13.0"}}},
            {},
            {"c": "the hash of the configuration is None, elsewhere f00d"},
        ),
        ({5: {"temporary_free_bytes": 3_000_000}}, {}, {"c": "3 MB are free in its TMPDIR"}),
        (
            {2: {"sees_run": False}},
            {},
            {"b": "it does not see what the first rank has written to run.dir: is that mounted?"},
        ),
        ({}, {2: -2.5, 3: -2.5, 0: 1.9}, {"b": "its clock is 2.5 s slow"}),
        (
            {0: {"temporary_free_bytes": 0}},
            {0: 60.0},
            {"a": "0 MB are free in its TMPDIR, its clock is 60.0 s fast"},
        ),
    ],
)
def test_a_node_that_is_unlike_the_others_is_bad(
    changes: dict[int, dict[str, Any]], offsets_s: dict[int, float], bad: dict[str, str]
) -> None:
    assert judged(changes, offsets_s, NODES) == bad


def test_of_two_nodes_the_one_that_differs_from_the_first_is_bad() -> None:
    assert list(judged({1: {"same": {"torch": "2.6.0"}}}, {}, ["a", "b"])) == ["b"]


def test_of_two_clocks_nobody_knows_which_is_wrong() -> None:
    assert judged({}, {0: -5.0, 1: 5.0}, ["a", "b"]) == {}


@pytest.mark.parametrize(
    ("flops", "links", "bad"),
    [
        ((1.0, 1.0, 1.0, 1.0), (9.0, 9.0, 9.0, 9.0), []),
        ((1.0, 0.81, 1.2, 1.0), (9.0, 9.0, 4.6, 12.0), []),
        ((1.0, 0.79, 1.0, 1.0), (9.0, 9.0, 9.0, 9.0), ["b"]),
        ((1.0, 1.0, 1.0, 1.0), (9.0, 9.0, 4.4, 9.0), ["c"]),
        ((5.0, 4.0, 5.0, 5.0), (9.0, 9.0, 4.5, 9.0), []),  # exactly at the least shares
        ((0.1, 1.0, 1.0, 1.0), (9.0, 9.0, 9.0, 0.1), ["a", "d"]),
    ],
)
def test_a_node_far_below_the_median_is_bad(
    flops: tuple[float, ...], links: tuple[float, ...], bad: list[str]
) -> None:
    """Its slowest rank counts; the second rank of a node measures no link."""
    nodes = [node for node in "abcd" for _ in range(2)]
    speeds = [
        Speed(flops=of_rank, link=link if first else None)
        for of_node, link in zip(flops, links, strict=True)
        for of_rank, first in ((of_node, True), (flops[-1], False))
    ]
    assert list(reasons(slow(nodes, speeds))) == bad


def test_two_nodes_have_no_median() -> None:
    assert list(slow(["a", "b"], [Speed(flops=1.0, link=1.0), Speed(flops=0.1, link=1.0)])) == []


@pytest.mark.parametrize("count", range(2, 10))
def test_every_node_meets_both_its_neighbours_and_one_at_a_time(count: int) -> None:
    rounds = ring(count)
    for pairs in rounds:
        met = [node for pair in pairs for node in pair]
        assert len(set(met)) == len(met)
    met = [{*pair} for pairs in rounds for pair in pairs]
    assert all({node, (node + 1) % count} in met for node in range(count))
    assert len(met) == (count if count > 2 else 1)
