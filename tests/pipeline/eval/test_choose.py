"""From the words of the command line and the files of a directory to the tasks that are asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.eval.choose import Choice, Wanted, choose, known_tasks
from pipeline.eval.tasks import TaskFile


def task(name: str, **fields: Any) -> TaskFile:
    given = {
        "title": name,
        "family": "cloze",
        "suites": ["gpt2"],
        "source": f"https://example.org/{name}",
        "reader": "toy.hellaswag",
        "files": {"test": [f"{name}.jsonl"], "train": [f"{name}_train.jsonl"]},
        "few": 7,
        "protocols": {rules: {"engine": "toy", "measures": ["acc"]} for rules in ("gpt2", "gpt3", "lm-eval")},
    }
    return TaskFile.model_validate({"name": name, **given, **fields})


TASKS = {
    each.name: each
    for each in (
        task("cbt"),
        task("piqa", suites=["gpt3"], files={"test": ["piqa/valid.jsonl", "*.lst"], "train": ["*.lst"]}),
        task("ptb", few=0, shots=[1], files={"test": ["ptb.txt"]}),
    )
}


def found(data: Path, *files: str, **wanted: Any) -> Choice:
    for name in files:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    return choose(Wanted(**wanted), TASKS, data)


def names(choice: Choice) -> list[str]:
    return [asking.name for asking in choice.askings]


def test_files_are_found_by_name_wherever_they_lie_and_hidden_ones_are_not(tmp_path: Path) -> None:
    choice = found(tmp_path, "a/cbt.jsonl.gz", "b/piqa/valid.jsonl", "b/x.lst", ".c/ptb.txt", "d/.ptb.txt")
    assert names(choice) == ["cbt/0/gpt2", "cbt/0/gpt3", "piqa/0/gpt2", "piqa/0/gpt3"]
    assert choice.askings[2].test == ("b/piqa/valid.jsonl", "b/x.lst")
    assert [*choice.sets] == ["a/cbt.jsonl.gz", "b/piqa/valid.jsonl", "b/x.lst"]
    (skipped,) = choice.skipped
    assert (skipped.task, skipped.by_hand) == ("ptb", False)
    assert "ptb.txt not found (https://example.org/ptb)" in skipped.why


def test_a_pipe_and_a_broken_link_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cbt.jsonl")
    (tmp_path / "ptb.txt").symlink_to("ptb.txt")
    assert {each.task for each in found(tmp_path).skipped} == {"cbt", "piqa", "ptb"}


def test_a_name_that_no_line_can_show_is_refused(tmp_path: Path) -> None:
    for odd in (b"\xff", b"a\nb"):
        folder = tmp_path / repr(odd)
        (folder / os.fsdecode(odd)).mkdir(parents=True)
        (folder / os.fsdecode(odd) / "ptb.txt").write_text("")
        with pytest.raises(UsageError, match=r"ptb finds '.*': take the odd characters out of its name"):
            found(folder)


def test_a_name_that_several_files_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wants one cbt.jsonl.*a/cbt.jsonl, b/cbt.jsonl.gz"):
        found(tmp_path, "a/cbt.jsonl", "b/cbt.jsonl.gz")


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ({"tasks": ["gpt2"]}, ["cbt/0/gpt2", "cbt/0/gpt3", "ptb/1/gpt2", "ptb/1/gpt3"]),
        ({"tasks": ["cbt"], "protocols": ["lm-eval"]}, ["cbt/0/lm-eval"]),
        ({"tasks": ["cbt"], "protocols": ["gpt2"], "shots": ["few", "0", "7"]}, ["cbt/7/gpt2", "cbt/0/gpt2"]),
        ({"tasks": ["ptb", "gpt2"], "protocols": ["gpt2"], "shots": ["few"]}, ["cbt/7/gpt2"]),
        (
            {"tasks": ["all"], "protocols": ["all"], "shots": ["3"]},
            ["cbt/3/gpt2", "cbt/3/gpt3", "cbt/3/lm-eval", "ptb/3/lm-eval"],
        ),
    ],
)
def test_words_choose_tasks_protocols_and_shots(tmp_path: Path, wanted: Any, asked: list[str]) -> None:
    assert names(found(tmp_path, "cbt.jsonl", "cbt_train.jsonl", "ptb.txt", **wanted)) == asked


def test_shots_without_a_training_file_are_left_out_and_the_rest_is_asked(tmp_path: Path) -> None:
    choice = found(tmp_path, "cbt.jsonl", tasks=["cbt"], protocols=["gpt2"], shots=["0", "few"])
    assert names(choice) == ["cbt/0/gpt2"]
    assert [(each.by_hand, each.why.partition(" (")[0]) for each in choice.skipped] == [
        (True, "7 shots: cbt_train.jsonl not found")
    ]


def test_labels_beside_a_file_belong_to_the_set(tmp_path: Path) -> None:
    """Else results would stay when labels change."""
    choice = found(tmp_path, "a/cbt.jsonl.gz", "a/cbt-labels.lst", "a/other-labels.lst", tasks=["cbt"])
    assert [*choice.sets] == ["a/cbt-labels.lst", "a/cbt.jsonl.gz"]
    assert choice.askings[0].test == ("a/cbt.jsonl.gz",)


def test_a_protocol_with_settings_of_its_own_is_asked_in_no_other(tmp_path: Path) -> None:
    """GPT-2's LAMBADA has no solved examples: with some its score would be that without, by another name."""
    rules = {"engine": "toy", "measures": ["acc"]}
    own = task("lambada", protocols={"gpt2": {**rules, "shots": [0]}, "gpt3": rules})
    for name in ("lambada.jsonl", "lambada_train.jsonl"):
        (tmp_path / name).touch()
    choice = choose(Wanted(tasks=["lambada"], shots=["0", "few"]), {"lambada": own}, tmp_path)
    assert names(choice) == ["lambada/0/gpt2", "lambada/0/gpt3", "lambada/7/gpt3"]
    assert [each.why for each in choice.skipped] == ["7 shots: the protocol gpt2 has none"]


def test_words_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"many.*few"):
        found(tmp_path, "cbt.jsonl", shots=["many"])


@pytest.mark.slow(3)
def test_names_of_lm_eval_and_tasks_of_the_user_are_known_and_no_others() -> None:
    known = known_tasks(["all", "cbt", "sciq"], TASKS)
    assert known["cbt"] is TASKS["cbt"]
    assert [*known["sciq"].protocols] == ["lm-eval"]
    with pytest.raises(UsageError, match=r"cbtt: neither outbound nor the installed lm-eval"):
        known_tasks(["cbtt"], {})


def test_a_task_of_lm_eval_alone_needs_no_word_for_its_protocol(tmp_path: Path) -> None:
    own = task("sciq", protocols={"lm-eval": {"engine": "toy", "measures": ["acc"]}})
    (tmp_path / "sciq.jsonl").touch()
    assert names(choose(Wanted(tasks=["sciq"]), {"sciq": own}, tmp_path)) == ["sciq/0/lm-eval"]


def test_the_first_name_of_a_file_that_is_there_counts(tmp_path: Path) -> None:
    own = task("ptb", files={"test": ["ptb.txt|ptb.test.txt"]}, shots=[0])
    choice = choose(Wanted(tasks=["ptb"]), {"ptb": own}, tmp_path)
    assert choice.skipped[0].why.startswith("ptb.txt or ptb.test.txt not found")
    (tmp_path / "ptb.test.txt").touch()
    assert choose(Wanted(tasks=["ptb"]), {"ptb": own}, tmp_path).askings[0].test == ("ptb.test.txt",)


def test_a_task_without_files_is_asked_whatever_is_there(tmp_path: Path) -> None:
    assert names(choose(Wanted(tasks=["news"]), {"news": task("news", files={}, few=0)}, tmp_path)) == [
        "news/0/gpt2",
        "news/0/gpt3",
    ]


def test_examples_to_show_are_among_the_sets_only_where_some_are_shown(tmp_path: Path) -> None:
    files = ("cbt.jsonl", "cbt_train.jsonl")
    choices = [found(tmp_path, *files, tasks=["cbt"], shots=[shots]) for shots in ("0", "few")]
    assert [[*choice.sets] for choice in choices] == [["cbt.jsonl"], [*files]]


@pytest.mark.parametrize(("shots", "asked"), [([2, 0, 1], 0), ([2, 1], 2), ([], 0)])
def test_without_a_wish_no_example_is_shown_where_the_task_knows_that(
    tmp_path: Path, shots: list[int], asked: int
) -> None:
    for name in ("x.jsonl", "x_train.jsonl"):
        (tmp_path / name).write_text(name)
    choice = choose(Wanted(protocols=["gpt2"]), {"x": task("x", shots=shots)}, tmp_path)
    assert [asking.shots for asking in choice.askings] == [asked]
