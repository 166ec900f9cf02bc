"""The manifest of a directory: a file that it names cannot be lost or altered unseen."""

from pathlib import Path

import pytest

from dataprep.errors import DataError
from dataprep.store import root_manifest
from dataprep.store.root_manifest import NAME, altered, known, lost, release, remember


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root_manifest.create(tmp_path)
    for name in ("a.json", "folder/b.json", "folder/c.bin"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    remember(tmp_path, tmp_path.rglob("[ab].json"), tmp_path.rglob("*.bin"))
    return tmp_path


def test_what_it_names_and_does_not_stand_is_lost_and_stays_named(root: Path) -> None:
    assert lost(root) == []
    (root / "a.json").unlink()
    (root / "folder" / "c.bin").unlink()
    remember(root, root.rglob("[ab].json"), root.rglob("*.bin"))
    assert lost(root) == ["a.json", "folder/c.bin"]
    with pytest.raises(DataError, match=r"a\.json: is missing; find it"):
        root_manifest.refuse_losses(root, lambda name: "find it")


def test_a_file_whose_hash_it_keeps_is_altered_when_it_has_another(root: Path) -> None:
    (root / "folder" / "c.bin").write_text("other")
    remember(root, [], root.rglob("*.bin"))
    assert altered(root) == ["folder/c.bin"]


def test_what_is_released_may_go_with_all_that_is_below(root: Path) -> None:
    release(root, ["folder"])
    assert list(known(root)) == ["a.json"]
    release(root, ["a.json"])
    assert known(root) == {}


def test_what_another_file_names_now_leaves(root: Path) -> None:
    remember(root, [], [], is_summed_up=lambda name: name.startswith("folder/b"))
    assert list(known(root)) == ["a.json", "folder/c.bin"]


@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_its_own_loss_and_damage_are_errors_and_never_mended_in_silence(
    root: Path, damage: bytes | None
) -> None:
    if damage is None:
        (root / NAME).unlink()
    else:
        (root / NAME).write_bytes(damage)
    for use in (lost, altered, lambda root: remember(root, [], []), lambda root: release(root, ["a.json"])):
        with pytest.raises(DataError, match=f"{NAME}.*restore it from a copy.*--accept"):
            use(root)
    assert root_manifest.reset(root) == []
    assert known(root) == {}


def test_what_is_missing_or_was_altered_is_given_up(root: Path) -> None:
    (root / "a.json").unlink()
    (root / "folder" / "c.bin").write_text("other")
    assert root_manifest.reset(root) == ["a.json", "folder/c.bin"]
    assert lost(root) == []
