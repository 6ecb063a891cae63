"""The set-up script: stages and stamps, what it says when something is missing, the CMake mend."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import setup_environment
from environment_setup.machine import Machine, look_at_machine, problems
from environment_setup.main import remedy, run_stages
from environment_setup.messages_build import keep_manifest, mend_exports, remove_installed
from environment_setup.progress import CommandError, Progress, describe, end_process
from environment_setup.recipe import Recipe, discard_half_installed, own_folder
from environment_setup.stages import Stage, Stamps, file_inputs, write_whole

ROOT = Path(__file__).parents[2]
GOOD = Machine(
    system="Linux",
    architecture="x86_64",
    libc=("glibc", "2.36"),
    tools={"cmake": "/usr/bin/cmake", "cc": "/usr/bin/cc", "c++": "/usr/bin/c++"},
    cmake_version="cmake version 3.25.1",
    python="3.11",
)


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "setup.log", io.StringIO())


def make_stage(run: Callable[[], None], *, name: str = "one", inputs: list[str] | None = None) -> Stage:
    return Stage(name, name.title(), lambda: inputs or [], run, list)


def fake_python(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version}'\necho '{path}'\n")
    path.chmod(0o755)
    return path


# What the machine must have


def test_complete_machine_has_no_problem() -> None:
    assert list(problems(GOOD, needed_gb=3.0)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"system": "Darwin"}, ["Darwin", "Linux"]),
        ({"architecture": "aarch64"}, ["aarch64", "apt", "colcon build"]),
        ({"libc": ("", "")}, ["glibc 2.28"]),
        ({"libc": ("glibc", "2.27")}, ["glibc 2.27", "Ubuntu 20.04"]),
        ({"has_venv": False}, ["sudo apt install python3.11-venv"]),
        ({"has_header": False}, ["Python.h", "sudo apt install python3.11-dev"]),
        ({"cmake_version": "cmake version 3.16.3"}, ["3.16.3 is too old", "3.22"]),
        ({"free_gb": 1.24}, ["3.0 GB", "1.2 GB"]),
    ],
)
def test_each_problem_is_one_line_that_says_what_to_do(change: dict[str, object], words: list[str]) -> None:
    found = list(problems(replace(GOOD, **change), needed_gb=3.0))  # type: ignore[arg-type]
    assert len(found) == 1
    assert "\n" not in found[0]
    for word in words:
        assert word in found[0]


@pytest.mark.parametrize(
    ("tool", "package"), [("cmake", "cmake"), ("cc", "build-essential"), ("c++", "build-essential")]
)
def test_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch, tool: str, package: str) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    tools = {name: path for name, path in GOOD.tools.items() if name != tool}
    (found,) = problems(replace(GOOD, tools=tools), needed_gb=0.0)
    assert found.endswith(f"sudo apt install {package}")


def test_this_machine_is_seen(tmp_path: Path) -> None:
    seen = look_at_machine(tmp_path, sys.executable)
    assert seen.python == f"3.{sys.version_info.minor}"
    assert seen.has_venv
    assert seen.libc[0] == "glibc"


def test_missing_tool_stops_the_whole_command(tmp_path: Path) -> None:
    for name in ("tools", "pyproject.toml", "ros2_ws/src/demo_msgs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    result = subprocess.run(
        [sys.executable, str(tmp_path / "tools" / "setup_environment.py")],
        env={**os.environ, "PATH": str(tmp_path), "CC": "cc", "CXX": "c++"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert [line.split(" is missing")[0] for line in lines] == [
        "setup: cmake",
        "setup: The C compiler (cc)",
        "setup: The C++ compiler (c++)",
    ]
    assert result.stdout == ""


# Which Python


@pytest.mark.parametrize("version", ["3 9", "3 14", "2 7"])
def test_wish_for_an_unsupported_python_is_refused(tmp_path: Path, version: str) -> None:
    python = fake_python(tmp_path, "python", version)
    with pytest.raises(ValueError, match=rf"is Python {version.replace(' ', '[.]')}, but.*3\.10"):
        setup_environment.choose_interpreter(str(python), "")


def test_wish_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be run"):
        setup_environment.choose_interpreter(str(tmp_path / "nowhere"), "")


def test_environment_keeps_its_python_unless_another_is_wished(tmp_path: Path) -> None:
    first = fake_python(tmp_path, "first", "3 10")
    second = fake_python(tmp_path, "second", "3 13")
    assert setup_environment.choose_interpreter("", str(first)) == str(first)
    assert setup_environment.choose_interpreter(str(second), str(first)) == str(second)


def test_another_python_is_found_where_the_default_is_not_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(fake_python(tmp_path, "python3", "3 9")))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    # A name that is there and cannot run, as pyenv has them.
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "python3.12").chmod(0o755)
    found = fake_python(tmp_path, "python3.11", "3 11")
    assert setup_environment.choose_interpreter("", "") == str(found)


def test_no_supported_python_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(fake_python(tmp_path, "python3", "3 9")))
    monkeypatch.setattr(setup_environment, "PREFERENCE", ())
    with pytest.raises(ValueError, match=r"install one of Python 3\.10, 3\.11, 3\.12, 3\.13"):
        setup_environment.choose_interpreter("", "")


# Stages and stamps


def test_finished_stage_is_not_run_again(tmp_path: Path, progress: Progress) -> None:
    runs: list[str] = []
    stages = [make_stage(lambda: runs.append("ran"))]
    assert run_stages(tmp_path, sys.executable, stages, progress) == 0
    assert run_stages(tmp_path, sys.executable, stages, progress) == 0
    assert runs == ["ran"]


def test_stage_runs_again_when_an_input_changed_or_an_output_is_gone(tmp_path: Path) -> None:
    output = tmp_path / "output"
    stamps = Stamps(tmp_path / "stamps")
    stage = Stage("one", "One", lambda: ["a", "b"], output.touch, lambda: [output])
    stage.run()
    stamps.set(stage)
    assert stamps.is_current(stage)
    # The border between inputs counts, too.
    assert not stamps.is_current(replace(stage, inputs=lambda: ["ab"]))
    output.unlink()
    assert not stamps.is_current(stage)


@pytest.mark.parametrize("failure", [CommandError(["pip"], "no idea"), OSError("broken"), KeyboardInterrupt()])
def test_failed_or_interrupted_stage_runs_again_and_earlier_ones_do_not(
    tmp_path: Path, progress: Progress, failure: BaseException
) -> None:
    runs: list[str] = []

    def second() -> None:
        runs.append("second")
        if runs.count("second") == 1:
            raise failure

    stages = [make_stage(lambda: runs.append("first")), make_stage(second, name="two")]
    if isinstance(failure, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run_stages(tmp_path, sys.executable, stages, progress)
    else:
        assert run_stages(tmp_path, sys.executable, stages, progress) == 1
    assert run_stages(tmp_path, sys.executable, stages, progress) == 0
    assert runs == ["first", "second", "second"]


def test_stage_that_changes_its_own_inputs_is_done_once(tmp_path: Path, progress: Progress) -> None:
    made = tmp_path / "made"
    runs: list[str] = []

    def run() -> None:
        runs.append("ran")
        made.write_text("content")

    stage = Stage("one", "One", lambda: file_inputs([made] if made.exists() else []), run, lambda: [made])
    for _ in range(2):
        assert run_stages(tmp_path, sys.executable, [stage], progress) == 0
    assert runs == ["ran"]


def test_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_stages_of_each_command(tmp_path: Path, progress: Progress) -> None:
    recipe = Recipe(tmp_path, sys.executable, {}, progress)
    setup = ["environment", "running", "messages", "check"]
    assert [stage.name for stage in recipe.stages([])] == setup
    assert [stage.name for stage in recipe.stages(["train"])] == [*setup, "train-tools", "train"]
    assert [stage.name for stage in recipe.stages(["train", "test"])] == [*setup, "test", "train-tools", "train"]


def test_only_what_is_installed_counts_in_pyproject(tmp_path: Path, progress: Progress) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = somewhere")
    project = (ROOT / "pyproject.toml").read_text()
    stage = Recipe(tmp_path, sys.executable, {}, progress).stages([])[1]

    def inputs_with(text: str) -> list[str]:
        (tmp_path / "pyproject.toml").write_text(text)
        return list(stage.inputs())

    before = inputs_with(project)
    assert inputs_with(f"{project}\n# a comment") == before
    assert inputs_with(project.replace("numpy>=", "numpy>")) != before
    assert inputs_with(project.replace("democtl =", "other =")) != before


def test_package_whose_installation_was_interrupted_is_installed_again(tmp_path: Path) -> None:
    for name in ("whole-1.0", "half-1.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "METADATA").touch()
    (tmp_path / "whole-1.0.dist-info" / "INSTALLER").write_text("pip\n")
    discard_half_installed(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole-1.0.dist-info"]


# What goes wrong on the way


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("Retrying after connection broken by 'NewConnectionError(...)'", "No network"),
        ("ProxyError('Cannot connect to proxy')", "HTTPS_PROXY"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED]", "PIP_CERT"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("c++: fatal error: error writing to /tmp/x.s: No space left on device", "disk is full"),
    ],
)
def test_known_failure_has_a_remedy(output: str, words: str) -> None:
    assert words in remedy(output)
    assert "\n" not in remedy(output)


def test_unknown_failure_shows_the_end_of_the_log(
    tmp_path: Path, progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import sys; print('the reason'); sys.exit(3)"
    stage = make_stage(lambda: progress.run([sys.executable, "-c", script], {}) and None)
    assert run_stages(tmp_path, sys.executable, [stage], progress) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "the reason"
    assert str(own_folder(tmp_path) / "setup.log") in shown.err
    assert shown.err.count("\n") == 1


def test_end_takes_everything_that_a_command_started_with_it() -> None:
    process = subprocess.Popen(
        ["sh", "-c", "sleep 300 & echo started; wait"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    end_process(process)
    assert process.returncode == -signal.SIGTERM
    # The pipe closes only when nobody holds it any more.
    assert process.stdout.read() == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Progress 1500000 of 3000000", "downloading 1.5 of 3.0 MB"),
        ("  Downloading mujoco-4.0.0-cp311-cp311-linux.whl (7.1 MB)", "downloading mujoco (7.1 MB)"),
        ("Collecting numpy<3,>=1.26 (from demo-stack==0.1.0)", "looking up numpy"),
        ("Installing collected packages: a, b, c", "installing 3 packages"),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'ReadTimeoutError'",
            "the package index does not answer, trying again",
        ),
        ("[ 42%] Building C object x.o", "42 % built"),
        ("Looking in indexes: https://pypi.org/simple", ""),
    ],
)
def test_output_is_said_in_a_few_words(line: str, words: str) -> None:
    assert describe(line) == words


# The messages


def test_mend_replaces_folders_that_do_not_exist_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    export = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    text = (
        "set_target_properties(std_msgs PROPERTIES\n"
        '  INTERFACE_INCLUDE_DIRECTORIES "/builder/cp399/include/python3.99;'
        f'/builder/site-packages/numpy/_core/include;{tmp_path}"\n'
        '  INTERFACE_LINK_LIBRARIES "/builder/cp399/include/python3.99"\n)\n'
    )
    export.write_text(text)
    assert mend_exports(tmp_path, "/here/python", "/here/numpy") == [export]
    mended = export.read_text()
    assert f'DIRECTORIES "/here/python;/here/numpy;{tmp_path}"' in mended
    assert 'LIBRARIES "/builder/cp399/include/python3.99"' in mended
    assert mend_exports(tmp_path, "/elsewhere/python", "/elsewhere/numpy") == []


def test_renamed_message_leaves_nothing_behind(tmp_path: Path) -> None:
    build, manifest, installed = tmp_path / "build", tmp_path / "manifest", tmp_path / "_old.py"
    build.mkdir()
    installed.touch()
    (build / "install_manifest.txt").write_text(f"{installed}\n{tmp_path / 'gone.py'}")
    keep_manifest(build, manifest)
    assert not build.exists()
    remove_installed(manifest)
    assert not installed.exists()
    remove_installed(manifest)


def test_both_setups_declare_the_same_plug_ins() -> None:
    pip: dict[str, list[str]] = {}
    for group, section in re.findall(
        r'\[project\.entry-points\."([^"]+)"\]\n(.*?)(?=\n\n)', (ROOT / "pyproject.toml").read_text(), re.DOTALL
    ):
        pip[group] = sorted(section.replace('"', "").splitlines())
    colcon: dict[str, list[str]] = {}
    for package in ("demo_control", "stoch2_sim"):
        setup = (ROOT / "ros2_ws" / "src" / package / "setup.py").read_text()
        for group, listed in re.findall(r'"(demo_control\.\w+)": \[(.*?)\]', setup, re.DOTALL):
            colcon[group] = sorted(colcon.get(group, []) + re.findall(r'"([^"]+)"', listed))
    assert pip == colcon
    assert "demo_control.tasks" in pip
