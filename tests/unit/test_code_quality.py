"""The linter, the formatter and the type checker are tests like any other."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MAXIMUM_LINES = 400
# NumPy's own annotations differ between its minor versions.
TYPED_NUMPY = "2.4"


def run_tool(*arguments: str) -> None:
    result = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


def source_files() -> list[Path]:
    files = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in files.stdout.split("\0") if name]


def test_linter_finds_nothing() -> None:
    run_tool("ruff", "check", "--no-cache", ".")


def test_formatter_changes_nothing() -> None:
    run_tool("ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__).version.rpartition(".")[0] != TYPED_NUMPY,
    reason=f"types are checked against NumPy {TYPED_NUMPY}, the one of Python 3.11",
)
@pytest.mark.timeout(300)
def test_types_fit() -> None:
    run_tool("mypy", "--no-error-summary")


def test_files_stay_readable() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in source_files()}
    assert not {path: count for path, count in lengths.items() if count > MAXIMUM_LINES}


@pytest.mark.parametrize("package", ["mpc", "rollout", "bundle", "policies"])
def test_method_needs_neither_ros_nor_torch(package: str) -> None:
    folder = ROOT / "ros2_ws" / "src" / "demo_control" / "demo_control" / package
    forbidden = re.compile(r"^\s*(?:import|from) (?:rclpy|torch|stoch2_sim)\b", re.MULTILINE)
    for path in folder.rglob("*.py"):
        assert not forbidden.search(path.read_text()), path


@pytest.mark.parametrize("package", ["demo_control", "stoch2_sim"])
def test_packages_name_the_messages_they_import(package: str) -> None:
    folder = ROOT / "ros2_ws" / "src" / package
    imports = re.compile(r"^\s*(?:import|from) (\w+_(?:msgs|srvs|interfaces)|rclpy)\b", re.MULTILINE)
    used = {name for path in (folder / package).rglob("*.py") for name in imports.findall(path.read_text())}
    named = set(re.findall(r"<exec_depend>(\w+)</exec_depend>", (folder / "package.xml").read_text()))
    assert used <= named


def test_what_a_distribution_lacks_or_has_too_old_is_told() -> None:
    """With a ROS 2 distribution a dependency comes from rosdep or by the line of docs/ros2.md."""
    told = (ROOT / "docs" / "ros2.md").read_text()
    line = next(line for line in told.splitlines() if line.strip().startswith("pip install onnx"))
    from_pip = {re.split(r"[<>=~]", word.strip("'"))[0] for word in line.split()[2:]}
    packages = [ROOT / "ros2_ws" / "src" / name / "package.xml" for name in ("demo_control", "stoch2_sim")]
    from_rosdep = {name for path in packages for name in re.findall(r"<exec_depend>python3-(\w+)<", path.read_text())}
    project = (ROOT / "pyproject.toml").read_text().partition("\ndependencies = [")[2].partition("]")[0]
    needed = set(re.findall(r'"([\w-]+)>=', project))

    assert needed, "no dependencies found"
    assert needed - from_pip <= {{"pil": "pillow", "yaml": "pyyaml"}.get(name, name) for name in from_rosdep}
    # Versions before 0.12, as distributions have them, do not know 'int | None' and end with a traceback.
    assert "'typer>=0.15'" in line
    assert '"typer>=0.15,' in project


def test_only_learning_needs_torch() -> None:
    package = ROOT / "ros2_ws" / "src" / "demo_control" / "demo_control"
    for path in package.rglob("*.py"):
        if package / "learning" not in path.parents:
            assert not re.search(r"^(?:import|from) torch\b", path.read_text(), re.MULTILINE), path


def test_robot_independent_code_does_not_know_the_robots() -> None:
    package = ROOT / "ros2_ws" / "src" / "demo_control" / "demo_control"
    for path in package.rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(?:import|from) stoch2_sim\b", text, re.MULTILINE), path
