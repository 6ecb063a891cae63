"""Files are written whole or not at all; devices, pipes and links stay what they are, and errors name the file."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from demo_control.files import check_file, check_folder, write_atomically, write_text_atomically


def full_disk(_: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()

    write_text_atomically(pipe, "text")
    reader.join(5.0)

    assert read == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.skipif(os.getuid() != 0, reason="only the administrator may make devices")
def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    null, full = tmp_path / "null", tmp_path / "full"
    for device, number in ((null, 3), (full, 7)):
        try:
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, number))
            device.open("wb").close()
        except OSError as error:
            pytest.skip(f"no devices can be made here: {error}")

    write_text_atomically(null, "text")
    with pytest.raises(OSError, match="No space left") as caught:
        write_text_atomically(full, "text")

    assert caught.value.filename == str(full)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert stat.S_ISCHR(full.stat().st_mode)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_leads_to_the_new_file(tmp_path: Path, there: bool) -> None:
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to("folder/target")

    write_text_atomically(link, "new")

    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_what_standard_output_goes_to_is_written_to(tmp_path: Path) -> None:
    """A link as /dev/stdout is one, to a file that the shell has opened."""
    link, output = tmp_path / "stdout", tmp_path / "output"
    link.symlink_to("/proc/self/fd/1")
    code = (
        "import sys; from pathlib import Path; from demo_control.files import write_text_atomically\n"
        "print('before', flush=True); write_text_atomically(Path(sys.argv[1]), 'text')"
    )
    with output.open("wb") as opened:
        subprocess.run([sys.executable, "-c", code, str(link)], stdout=opened, check=True)

    assert link.is_symlink()
    assert output.read_text() == "before\ntext"


def test_a_descriptor_that_nobody_reads_any_more_is_one_error_that_names_it() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError) as caught:
            write_text_atomically(Path(f"/dev/fd/{writing}"), "text")
    finally:
        os.close(writing)

    assert caught.value.filename == f"/dev/fd/{writing}"


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, full_disk)

    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    def needs(_: Path) -> None:
        (tmp_path / "missing").read_text()

    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "report.json", needs)

    assert caught.value.filename == str(tmp_path / "missing")


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (check_file, "folder", "Is a directory"),
        (check_file, "file/report.json", "Not a directory"),
        (check_file, "file/new/report.json", "Not a directory"),
        (check_folder, "file", "Not a directory"),
        (check_folder, "file/new", "Not a directory"),
    ],
)
def test_what_could_not_be_written_is_told_before(
    tmp_path: Path, check: Callable[[Path], None], name: str, text: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=text):
        check(tmp_path / name)


def test_a_folder_that_must_not_be_written_to_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    for check in (check_file, check_folder):
        with pytest.raises(PermissionError) as caught:
            check(tmp_path / "new" / "report")
        assert caught.value.filename == str(tmp_path)


def test_what_can_be_made_is_not_made_by_the_check(tmp_path: Path) -> None:
    check_file(tmp_path / "new" / "report.json")
    check_folder(tmp_path / "new")

    assert not list(tmp_path.iterdir())
