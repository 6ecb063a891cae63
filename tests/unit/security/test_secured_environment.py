"""Whoever asks for security gets it or one line; whoever does not is left alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo_control.bringup import run as run_module
from demo_control.bringup.description import BringUp, BringUpArguments, NodeDescription
from demo_control.bringup.process import NodeProcess, end_all
from demo_control.cli.main import app
from demo_control.configuration import ConfigurationError
from demo_control.doctor.middleware import Middleware
from demo_control.security import environment as module
from demo_control.security import middleware
from demo_control.security.environment import check, enclave_arguments, join_secured, requested_keystore, secured
from demo_control.security.keystore import Keystore
from demo_control.security.middleware import Support
from demo_control.security.roles import find_role, roles_of

VARIABLES = ("KEYSTORE", "ENABLE", "STRATEGY", "ENCLAVE_OVERRIDE")


@pytest.fixture(autouse=True)
def unsecured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        # Set first, so that all is undone that a test lets the code set.
        monkeypatch.setenv(f"ROS_SECURITY_{name}", "")
        monkeypatch.delenv(f"ROS_SECURITY_{name}")


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> Keystore:
    """One that can be used today."""
    folder = tmp_path_factory.mktemp("current") / "keystore"
    return Keystore.create(folder, roles_of(["cartpole"]), datetime.now(timezone.utc), timedelta(days=365))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A middleware that grants everything; the enclaves that it was asked for."""
    enclaves: list[str] = []

    def grant(_environment: Mapping[str, str], _keystore: Path, enclave: str) -> Support:
        enclaves.append(enclave)
        return Support(("/usr/lib/libfastrtps.so",), "")

    monkeypatch.setattr(module, "ask_for_node", grant)
    return enclaves


def test_which_keystore_is_asked_for(tmp_path: Path) -> None:
    enabled = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_KEYSTORE": "/keys"}

    assert requested_keystore("", {}) is None
    assert requested_keystore("false", {}) is None
    assert requested_keystore("", {"ROS_SECURITY_KEYSTORE": "/keys"}) is None
    assert requested_keystore("", enabled) == Path("/keys")
    assert requested_keystore("true", {"ROS_SECURITY_KEYSTORE": "/keys"}) == Path("/keys")
    assert requested_keystore("true", {}) == Path.home() / ".config/demo_control/keystore"
    assert requested_keystore(str(tmp_path), enabled) == tmp_path
    assert requested_keystore("here", {}) == Path.cwd() / "here"
    with pytest.raises(ConfigurationError, match="security = 'false', and the environment has ROS_SECURITY_ENABLE"):
        requested_keystore("false", enabled)
    assert requested_keystore("", {"ROS_SECURITY_ENABLE": "false"}) is None
    for text in ("1", "True", "yes"):
        with pytest.raises(ConfigurationError, match=f"ROS_SECURITY_ENABLE = '{text}': must be true or false"):
            requested_keystore("", {"ROS_SECURITY_ENABLE": text})


def test_a_keystore_that_will_do_is_asked_of_the_middleware(current: Keystore, asked: list[str]) -> None:
    assert check(current.folder, ["monitor", "layer", "layer"], {}) == []
    assert asked == ["/demo_control/monitor"]


def test_what_will_not_do_is_told_in_one_line(current: Keystore, asked: list[str], tmp_path: Path) -> None:
    cases = {
        "no keystore in": (tmp_path / "none", ["layer"], {}),
        "'stoch2_driver': no such enclave: .*: 'democtl security add": (current.folder, ["stoch2_driver"], {}),
        "enclave 'player_node': no such enclave: .*: it is no role": (current.folder, ["player_node"], {}),
        "ROS_DOMAIN_ID = 'x'": (current.folder, ["layer"], {"ROS_DOMAIN_ID": "x"}),
    }
    for text, (folder, names, environment) in cases.items():
        with pytest.raises(ConfigurationError, match=text) as caught:
            check(folder, names, environment)
        assert "\n" not in str(caught.value)
    assert asked == []


def test_what_ends_soon_is_told(tmp_path: Path, asked: list[str]) -> None:
    keystore = Keystore.create(tmp_path / "k", [find_role("viewer")], datetime.now(timezone.utc), timedelta(days=5))

    [warning] = check(keystore.folder, ["viewer"], {})
    assert warning.startswith("enclave 'viewer': ends ")
    assert asked == ["/demo_control/viewer"]


def test_a_middleware_without_the_plugins_is_told_with_its_library(
    current: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = Support(("/somewhere/librmw_x.so",), "no plugins here")
    monkeypatch.setattr(module, "ask_for_node", lambda *_arguments: refusal)
    with pytest.raises(ConfigurationError, match=r"no plugins here \(/somewhere/librmw_x.so\); docs/security.md"):
        check(current.folder, ["layer"], {})


def test_the_environment_is_secured_for_a_while_and_then_as_before(
    current: Keystore, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", "Permissive")
    monkeypatch.setenv("ROS_SECURITY_ENCLAVE_OVERRIDE", "/somebody")
    assert enclave_arguments("layer") == []
    with secured(str(current.folder), ["layer"]):
        assert os.environ["ROS_SECURITY_KEYSTORE"] == str(current.folder)
        assert os.environ["ROS_SECURITY_STRATEGY"] == "Enforce"
        assert os.environ["ROS_SECURITY_ENCLAVE_OVERRIDE"] == ""
        assert enclave_arguments("layer") == ["--ros-args", "--enclave", "/demo_control/layer"]
    assert os.environ["ROS_SECURITY_STRATEGY"] == "Permissive"
    assert os.environ["ROS_SECURITY_ENCLAVE_OVERRIDE"] == "/somebody"
    assert "ROS_SECURITY_KEYSTORE" not in os.environ
    with secured("", ["nobody"]) as warnings:
        assert warnings == []
        assert "ROS_SECURITY_ENABLE" not in os.environ
    assert asked == ["/demo_control/monitor"]


def test_a_command_that_joins_takes_the_environments_keystore_and_enforces_it(
    current: Keystore, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert join_secured("operator") == []
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.setenv("ROS_SECURITY_KEYSTORE", str(current.folder))
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", "Permissive")
    assert join_secured("operator") == ["--ros-args", "--enclave", "/demo_control/operator"]
    assert os.environ["ROS_SECURITY_STRATEGY"] == "Enforce"
    assert asked == ["/demo_control/operator"]


def test_a_secured_process_is_told_its_enclave(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text("import sys; print(' '.join(sys.argv))")
    description = NodeDescription("p", "e", "told", "driver", enclave="the_enclave")
    lines = []
    for more in ({}, {"ROS_SECURITY_ENABLE": "true"}):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), **more}
        process = NodeProcess(description, tmp_path / "driver.yaml", environment)
        assert process.wait(20.0)
        lines.append(process.last_lines()[-1])
        end_all([process], 0.1)
    assert "--enclave" not in lines[0]
    assert lines[1].endswith("--ros-args --enclave /demo_control/the_enclave")


def test_an_unusable_keystore_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = BringUpArguments(security=str(tmp_path / "none"))
    bringup = BringUp("walk", "cartpole", arguments, (NodeDescription("p", "e", "p.e", "driver", ends_run=True),))
    monkeypatch.setattr(run_module, "_run", lambda *_: pytest.fail("something was started"))
    monkeypatch.setenv("ROS_DOMAIN_ID", "97")
    with pytest.raises(ConfigurationError, match="security: no keystore in"):
        run_module.run_bringup(bringup)


@pytest.mark.parametrize("enabled", [True, False])
def test_without_the_package_security_is_refused_and_the_rest_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, enabled: bool
) -> None:
    monkeypatch.setitem(sys.modules, "demo_control.security.checking", None)
    if enabled:
        with (
            pytest.raises(ConfigurationError, match=r"needs the Python package .*pip install 'demo-stack\[security\]'"),
            secured(str(tmp_path), ["layer"]),
        ):
            pass
    else:
        with secured("", ["layer"]):
            pass


def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """Put a program in the place of the one that asks the middleware."""
    (tmp_path / "asking.py").write_text(text)
    monkeypatch.setattr(middleware, "__name__", "asking")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("""print('{"libraries": ["a.so"], "error": "could not find all security files!"}')""", ""),
        ("""print('{"libraries": ["a.so"], "error": "has no plugins"}')""", "has no plugins"),
        ("""print('{"libraries": ["a.so"], "error": ""}')""", "security was asked for, and there was none"),
        ("import sys; print('Segmentation fault', file=sys.stderr); sys.exit(139)", "(exit code 139): Segmentation"),
        ("", "(exit code 0): no output"),
    ],
)
def test_the_middlewares_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, error: str) -> None:
    script(monkeypatch, tmp_path, text)
    found = middleware.ask_for_plugins(os.environ)

    assert error in found.error
    assert bool(found.error) == bool(error)


def test_a_middleware_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(monkeypatch, tmp_path, "import time; time.sleep(60)")
    monkeypatch.setattr(middleware, "_ANSWER_LIMIT_S", 0.5)
    assert "not there after 0.5 s" in middleware.ask_for_plugins(os.environ).error


def findings(environment: dict[str, str], error: str) -> list[tuple[str, str]]:
    pytest.importorskip("rclpy")
    looking = Middleware(environment, ask=lambda _environment: Support(("a.so",), error))
    return [(finding.topic, finding.level) for finding in looking.security()]


def test_the_doctor_tells_whether_security_can_be_had(current: Keystore, keystore: Keystore, tmp_path: Path) -> None:
    def enabled(folder: Path) -> dict[str, str]:
        return {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_KEYSTORE": str(folder)}

    assert findings({}, "") == [("security", "ok")]
    assert findings({}, "no plugins") == [("security", "ok")]
    assert findings(enabled(current.folder), "") == [("security", "ok"), ("keystore", "ok")]
    assert findings(enabled(current.folder), "no plugins")[0] == ("security", "problem")
    assert findings(enabled(tmp_path), "") == [("security", "ok"), ("keystore", "problem")]
    in_years = findings(enabled(keystore.folder), "")
    assert set(in_years[1:]) == {("keystore", "problem")}
    assert len(in_years) == 1 + len(keystore.names())


def test_a_command_line_that_asks_for_security_in_vain_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    pytest.importorskip("demo_msgs")
    for words in (["launch", "cartpole_swingup", "--security", str(tmp_path / "none")],):
        result = CliRunner().invoke(app, words, env={"ROS_DOMAIN_ID": "98"})
        assert result.exit_code == 2
        assert len(result.stderr.strip().splitlines()) == 1
        assert "no keystore in" in result.stderr
    environment = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_KEYSTORE": str(tmp_path / "none")}
    for words in (["launch", "cartpole_swingup"], ["record"], ["teleop"]):
        result = CliRunner().invoke(app, words, env={**environment, "ROS_DOMAIN_ID": "98"})
        assert (result.exit_code, "no keystore in" in result.stderr) == (2, True), result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
