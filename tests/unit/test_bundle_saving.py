"""Saving a bundle: all of it or nothing, and what else lies in the folder stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from demo_control.bundle import Bundle, load_bundle, make_bundle, save_bundle
from demo_control.tasks import Task

from .conftest import linear_dynamics_model, linear_policy


def test_saving_again_replaces_the_graphs_and_keeps_other_files(
    linear_task: Task, linear_bundle: Bundle, saved: Path
) -> None:
    (saved / "curve.png").write_bytes(b"a plot of the card")
    other = make_bundle(
        linear_task, policy=linear_policy(linear_task, np.array([[-1.0, -1.0]])), dynamics=linear_dynamics_model()
    )
    save_bundle(other, saved, "# New card\n")
    assert load_bundle(saved, linear_task).sha256 == other.sha256 != linear_bundle.sha256
    assert (saved / "curve.png").exists()
    assert (saved / "README.md").read_text() == "# New card\n"
    assert [path.name for path in saved.parent.iterdir()] == ["integrator"]


def test_an_interrupted_save_leaves_the_old_bundle(
    linear_bundle: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = load_bundle(saved).sha256
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        save_bundle(linear_bundle, saved, "# Card\n")
    assert caught.value.filename == str(saved)
    assert load_bundle(saved).sha256 == before
    assert [path.name for path in saved.parent.iterdir()] == ["integrator"]


@pytest.mark.parametrize("at", [1, 2])
def test_a_save_that_is_interrupted_between_its_renames_leaves_the_old_bundle(
    linear_bundle: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    rename, renamed = Path.rename, list[Path]()

    def interrupted(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == at:
            raise KeyboardInterrupt
        return rename(path, target)

    before = load_bundle(saved).sha256
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(linear_bundle, saved, "# Card\n")
    assert load_bundle(saved).sha256 == before
    assert [path.name for path in saved.parent.iterdir()] == ["integrator"]


def test_a_link_to_a_folder_stays_and_leads_to_the_bundle(linear_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    save_bundle(linear_bundle, tmp_path / "link", "# Card\n")
    assert (tmp_path / "link").is_symlink()
    assert load_bundle(tmp_path / "target").sha256 == linear_bundle.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_links_in_the_folder_and_its_rights_stay_as_they_are(linear_bundle: Bundle, saved: Path) -> None:
    (saved.parent / "data").mkdir()
    (saved / "data").symlink_to("../data")
    (saved / "latest").symlink_to("nowhere")
    saved.chmod(0o700)
    save_bundle(linear_bundle, saved, "# New card\n")
    assert {name: os.readlink(saved / name) for name in ("data", "latest")} == {"data": "../data", "latest": "nowhere"}
    assert saved.stat().st_mode & 0o777 == 0o700


def test_a_graph_that_was_a_link_becomes_a_file(linear_bundle: Bundle, saved: Path) -> None:
    """What it pointed to belongs to another bundle."""
    other = saved.parent / "policy_of_another.onnx"
    (saved / "policy.onnx").rename(other)
    (saved / "policy.onnx").symlink_to(other)
    other.write_bytes(b"another")
    save_bundle(linear_bundle, saved, "# Card\n")
    assert other.read_bytes() == b"another"
    assert load_bundle(saved).sha256 == linear_bundle.sha256


def test_a_file_in_the_place_of_the_folder_stays(linear_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Something else.")
    with pytest.raises(NotADirectoryError, match=r"notes.txt"):
        save_bundle(linear_bundle, tmp_path / "notes.txt", "# Card\n")
    assert (tmp_path / "notes.txt").read_text() == "Something else."


def test_the_working_folder_is_saved_to_and_stays(
    linear_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.chdir(folder)
    number = folder.stat().st_ino
    save_bundle(linear_bundle, ".", "# Card\n")
    assert folder.stat().st_ino == number
    assert load_bundle(folder).sha256 == linear_bundle.sha256


def test_a_mount_point_gets_the_files_with_the_contract_last(
    linear_bundle: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, replace, replaced = Path.rename, Path.replace, list[str]()

    def busy(path: Path, target: Path) -> Path:
        if path == saved:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        return rename(path, target)

    def note(path: Path, target: Path) -> Path:
        replaced.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setattr(Path, "replace", note)
    (saved / "policy.onnx").unlink()
    save_bundle(linear_bundle, saved, "# New card\n")
    assert replaced[-1] == "contract.json"
    assert load_bundle(saved).sha256 == linear_bundle.sha256
    assert (saved / "README.md").read_text() == "# New card\n"
    assert [path.name for path in saved.parent.iterdir()] == ["integrator"]
