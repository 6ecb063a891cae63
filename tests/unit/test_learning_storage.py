"""Checkpoints of tensors: what is saved is loaded, and a full disk is an error of the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from demo_control.learning.storage import save_tensors  # noqa: E402

pytestmark = pytest.mark.train


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_tensors(tmp_path / "new" / "tensors.pt", {"weights": torch.arange(3.0), "step": 4})
    loaded = torch.load(tmp_path / "new" / "tensors.pt", weights_only=True)

    assert loaded["weights"].tolist() == [0.0, 1.0, 2.0]
    assert loaded["step"] == 4


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "tensors.pt"
    save_tensors(path, {"step": 4})
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        save_tensors(path, {"step": 5})

    assert caught.value.filename == str(path)
    assert torch.load(path, weights_only=True)["step"] == 4
    assert list(tmp_path.iterdir()) == [path]


def test_no_checkpoint_is_written_by_pytorch_itself() -> None:
    """Its writing raises RuntimeError on a full disk, which nobody expects."""
    folder = Path(__file__).parents[2] / "ros2_ws" / "src" / "demo_control" / "demo_control"

    assert [path.name for path in folder.rglob("*.py") if "torch.save(" in path.read_text()] == ["storage.py"]
