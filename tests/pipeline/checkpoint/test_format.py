"""Checkpoints appear whole, are verified before they are used, and are let go of in order."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import xxhash
from safetensors.torch import load_file

from dataprep.store.os_errors import explain_os_error
from pipeline.checkpoint import attempts
from pipeline.checkpoint.format import Checkpoint, CheckpointWriter, find, find_and_open, newest, saved_in
from pipeline.checkpoint.run_state import RunState
from pipeline.checkpoint.safetensors_writer import SafetensorsWriter, Shapes
from pipeline.errors import RunError
from support.kills import die_before, killed
from support.synced import watch


def state(step: int) -> RunState:
    return RunState(
        attempt=1,
        step=step,
        samples=4 * step,
        tokens=64 * step,
        updates=step,
        stream_hash=2**64 - 1,
        seconds=1.5,
        loss=2.5,
        val_loss=None,
        config={"run": {"seed": 0}},
        generations={"": 1},
        sources_fingerprint="f",
        tokenizer_fingerprint="f",
        wandb_id="w",
        resumes=[3],
        processes=2,
        stages=2,
        skipped=1,
        skipped_in_a_row=0,
        recent_losses=[2.5],
        skipped_ranges=[[3, 4]],
        spikes=1,
    )


def attempt_of(run: Path) -> Path:
    """The folder of the run's attempt, the first of which begins now."""
    if not attempts.numbers(run):
        attempts.claim(run, processes=2).begin(attempts.Origin(attempt=0, step=0))
    return attempts.folder(run, attempts.chain(run)[0].number)


def write_checkpoint(run: Path, step: int, keep: int = 3, keep_every: int | None = None) -> Path:
    """Two ranks' shares, one tensor each."""
    writer = CheckpointWriter(attempt_of(run), step)
    writer.prepare()
    shares: list[dict[str, Any]] = []
    for rank in range(2):
        value = torch.full((3, 2), float(step + rank))
        name = f"weight/{rank}"
        with SafetensorsWriter(writer.share(rank), {name: (value.dtype, tuple(value.shape))}) as file:
            file.write(name, value)
        shares.append({**file.file_record(), "tensors": [name]})
    writer.publish(state(step), shares, keep, keep_every)
    return writer.path


def test_a_checkpoint_reads_back_what_was_written(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 7)
    checkpoint = find(tmp_path)
    assert checkpoint is not None
    assert checkpoint.state == state(7)
    assert torch.equal(checkpoint.tensor("weight/1"), torch.full((3, 2), 8.0))


def test_the_files_are_plain_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(5, dtype=torch.uint8), "empty": torch.zeros(0)}
    with SafetensorsWriter(
        path, {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
    ) as file:
        for name, value in tensors.items():
            file.write(name, value)
    read = load_file(path)
    assert all(torch.equal(read[name], value) for name, value in tensors.items())
    assert file.file_record()["bytes"] == path.stat().st_size


def test_a_tensor_out_of_turn_is_refused(tmp_path: Path) -> None:
    shapes: Shapes = {"a": (torch.float32, (1,)), "b": (torch.float32, (1,))}
    with SafetensorsWriter(tmp_path / "file", shapes) as file, pytest.raises(ValueError, match="out of turn"):
        file.write("b", torch.zeros(1))


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        write_checkpoint(tmp_path, step, keep=2)
    assert [path.name for path in newest(tmp_path)] == ["step-00000020", "step-00000015"]


def test_those_of_every_so_many_steps_are_kept_too(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20, 25):
        write_checkpoint(tmp_path, step, keep=1, keep_every=10)
    assert [path.name for path in newest(tmp_path)] == ["step-00000025", "step-00000020", "step-00000010"]


def test_a_checkpoint_that_gets_its_name_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_of(tmp_path)
    named = watch(monkeypatch)
    write_checkpoint(tmp_path, 5)
    assert {name for name, _ in named} == {"checkpoint.json", *(f"rank-0000{n}.safetensors" for n in (0, 1))}
    assert all(on_disk for _, on_disk in named), named


HARM: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda share: share.write_bytes(share.read_bytes().replace(b"\x41", b"\x40")),
    "a cut share": lambda share: share.write_bytes(share.read_bytes()[:-1]),
    "a missing share": lambda share: share.unlink(),
    "an altered number": lambda share: rewrite(share.with_name("checkpoint.json"), "2.5", "2.4"),
    "a torn manifest": lambda share: rewrite(share.with_name("checkpoint.json"), "}", ""),
    "a missing manifest": lambda share: share.with_name("checkpoint.json").unlink(),
}


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, harm: str) -> None:
    write_checkpoint(tmp_path, 5)
    HARM[harm](write_checkpoint(tmp_path, 10) / "rank-00001.safetensors")
    checkpoint = find(tmp_path)
    assert checkpoint is not None
    assert checkpoint.state.step == 5


def test_when_all_are_damaged_nothing_is_begun_anew_by_itself(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path, 5) / "rank-00000.safetensors").unlink()
    with pytest.raises(RunError, match="every checkpoint is damaged"):
        find(tmp_path)


def test_a_state_that_lacks_a_number_is_refused(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 1) / "checkpoint.json"
    body = json.loads(path.read_text())["checkpoint"]
    del body["state"]["samples"]
    digest = xxhash.xxh3_128_hexdigest(json.dumps(body, sort_keys=True).encode())
    path.write_text(json.dumps({"xxh3_128": digest, "checkpoint": body}))
    with pytest.raises(RunError, match="its state lacks samples"):
        Checkpoint.open(path.parent)


def test_a_save_that_was_given_up_leaves_nothing_that_counts(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    dead = CheckpointWriter(attempt_of(tmp_path), 10)
    dead.prepare()
    dead.share(0).write_bytes(b"half")
    checkpoint = find(tmp_path)
    assert checkpoint is not None
    assert checkpoint.state.step == 5
    dead.abandon()
    write_checkpoint(tmp_path, 10)
    assert not list(tmp_path.rglob("writing-*"))


@pytest.mark.slow(1)
def test_a_save_that_is_killed_anywhere_leaves_the_old_one_or_the_new(tmp_path: Path) -> None:
    """Before each of its changes to the disk in turn, until one comes to its end."""

    def save_until(call: int) -> None:
        die_before(call, os, "mkdir", "fsync", "replace", "rename", "unlink", "rmdir")
        write_checkpoint(run, 10, keep=1)

    found = []
    for call in count(1):
        run = tmp_path / str(call)
        write_checkpoint(run, 5, keep=1)
        hit = killed(save_until, call)
        checkpoint = find(run)
        assert checkpoint is not None
        step = checkpoint.state.step
        assert torch.equal(checkpoint.tensor("weight/1"), torch.full((3, 2), float(step + 1)))
        found.append(step)
        if not hit:
            break
    assert found == sorted(found)
    assert set(found) == {5, 10}
    assert len(found) > 10


def test_a_checkpoint_is_read_to_its_end_while_a_training_lets_go_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    steps = iter((10, 15))
    verify = Checkpoint.first_damage

    def late(checkpoint: Checkpoint, names: Any) -> str | None:
        if step := next(steps, None):  # the first two that are looked at are gone before they have been
            write_checkpoint(tmp_path, step, keep=1, keep_every=4)
        return verify(checkpoint, names)

    monkeypatch.setattr(Checkpoint, "first_damage", late)
    write_checkpoint(tmp_path, 4)  # which stays, and is not to be taken for that
    write_checkpoint(tmp_path, 5)
    checkpoint = find_and_open(tmp_path)
    write_checkpoint(tmp_path, 20, keep=1)
    assert checkpoint is not None
    assert not checkpoint.path.exists()
    assert torch.equal(checkpoint.tensor("weight/1"), torch.full((3, 2), 16.0)), "of step 15"
    assert caplog.text == "", "nothing was damaged"


def test_a_save_for_which_there_is_no_place_is_told_and_leaves_the_one_before(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 5)
    way = attempt_of(tmp_path) / "checkpoints" / "writing-step-00000010"
    way.write_text("a file")
    with pytest.raises(OSError, match=way.name) as failure:
        write_checkpoint(tmp_path, 10)
    assert f"{way}: is a file; give a directory" in str(explain_os_error(failure.value))
    before = find(tmp_path)
    assert before is not None
    assert before.state.step == 5
    way.unlink()
    write_checkpoint(tmp_path, 10)
    after = find(tmp_path)
    assert after is not None
    assert after.state.step == 10


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert find(tmp_path) is None


def test_the_manifest_is_for_people_too(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 5)
    body = json.loads((path / "checkpoint.json").read_text())["checkpoint"]
    assert body["state"]["tokens"] == 320
    assert body["tensors"] == {"weight/0": "rank-00000.safetensors", "weight/1": "rank-00001.safetensors"}
    assert Checkpoint.open(path).first_damage(body["files"]) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_file_names_the_first_tensor_that_is_not_finite(tmp_path: Path, value: float) -> None:
    tensors = {"a": torch.zeros(2), "b": torch.tensor([0.0, value]), "c": torch.tensor([value])}
    shapes: Shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    with SafetensorsWriter(tmp_path / "file", shapes) as file:
        for name, tensor in tensors.items():
            file.write(name, tensor)
    assert file.not_finite == "b"


def to_take_over(run: Path) -> tuple[Checkpoint, attempts.Attempt]:
    """A checkpoint, and the attempt that is to resume from it."""
    return Checkpoint.open(write_checkpoint(run, 5)), attempts.claim(run, processes=2)


def test_a_successor_keeps_what_it_resumes_from_whatever_the_older_attempt_removes(tmp_path: Path) -> None:
    checkpoint, successor = to_take_over(tmp_path)
    checkpoint.link_into(successor.folder)
    (linked,) = saved_in(successor.folder)
    assert linked.name == "step-00000005"
    assert linked.joinpath("rank-00000.safetensors").samefile(checkpoint.path / "rank-00000.safetensors")
    successor.begin(attempts.Origin(attempt=1, step=5))
    shutil.rmtree(checkpoint.path.parent)
    found = find(tmp_path)
    assert found is not None
    assert torch.equal(found.tensor("weight/1"), torch.full((3, 2), 6.0))


def refuse_links(*paths: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_where_files_cannot_be_linked_they_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, successor = to_take_over(tmp_path)
    monkeypatch.setattr(os, "link", refuse_links)
    checkpoint.link_into(successor.folder)
    linked = Checkpoint.open(saved_in(successor.folder)[0])
    assert linked.first_damage(linked.files) is None
    assert not (linked.path / "checkpoint.json").samefile(checkpoint.path / "checkpoint.json")


@pytest.mark.parametrize("links", [True, False])
def test_a_checkpoint_that_goes_while_it_is_linked_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    checkpoint, successor = to_take_over(tmp_path)
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    (checkpoint.path / "rank-00001.safetensors").unlink()  # the older attempt is removing it
    with pytest.raises(FileNotFoundError):
        checkpoint.link_into(successor.folder)
    assert not list(successor.folder.rglob("*-step-*"))


def test_a_disk_that_is_full_while_a_checkpoint_is_copied_gets_its_room_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, successor = to_take_over(tmp_path)
    monkeypatch.setattr(os, "link", refuse_links)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.link_into(successor.folder)
    assert not list(successor.folder.rglob("*-step-*"))


def full_disk(file: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_an_older_attempt_saves_beyond_the_step_taken_over_does_not_count(
    tmp_path: Path,
) -> None:
    write_checkpoint(tmp_path, 5)
    write_checkpoint(tmp_path, 10)
    older = attempt_of(tmp_path)
    attempts.claim(tmp_path, processes=2).begin(attempts.Origin(attempt=1, step=10))
    shutil.copytree(older / "checkpoints" / "step-00000010", older / "checkpoints" / "step-00000015")
    assert [path.name for path in newest(tmp_path)] == ["step-00000010", "step-00000005"]
