"""democtl security on the command line."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from demo_control.cli.main import app
from demo_control.security.keystore import Keystore
from demo_control.security.permissions import Permissions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ROS_SECURITY_KEYSTORE", "ROS_SECURITY_ENABLE", "ROS_DOMAIN_ID"):
        monkeypatch.delenv(name, raising=False)


def run(*words: object) -> Any:  # noqa: ANN401 - typer's result has no public name
    return CliRunner().invoke(app, ["security", *map(str, words)])


def may(keystore: Path, name: str) -> Permissions:
    return Permissions.read((keystore / "enclaves/demo_control" / name / "permissions.p7s").read_bytes())


def test_from_nothing_to_a_keystore_and_back_to_order(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    done = run("init", "--into", folder, "--task", "cartpole", "--domain", 3)
    assert done.exit_code == 0, done.stderr
    assert f"democtl launch … --security {folder}" in done.stderr
    shown = run("show", "--into", folder, "--json", "-")
    # The keystore is for domain 3, and this is domain 0.
    assert shown.exit_code == 1
    shown = CliRunner().invoke(
        app, ["security", "show", "--into", str(folder), "--json", "-"], env={"ROS_DOMAIN_ID": "3"}
    )
    report = json.loads(shown.stdout)
    assert (shown.exit_code, report["usable"]) == (0, True)
    assert "/demo_control/cartpole_driver" in [enclave["name"] for enclave in report["enclaves"]]
    assert "/demo_control/stoch2_driver" not in [enclave["name"] for enclave in report["enclaves"]]

    assert run("add", "stoch2_driver", "--into", folder).exit_code == 0
    assert may(folder, "stoch2_driver").topics.may_publish("rt/walking_state")
    words = ("--node", "joystick", "--publish", "/cmd_vel", "--subscribe", "odom", "--call", "walk", "--offer", "beep")
    assert run("add", "joystick", "--into", folder, *words).exit_code == 0
    topics = may(folder, "joystick").topics
    assert topics.may_publish("rt/cmd_vel")
    assert topics.may_subscribe("rq/beepRequest")
    assert not topics.may_publish("rt/emergency_stop")
    assert run("add", "both", "--into", folder, "--role", "operator", "--role", "viewer").exit_code == 0
    assert may(folder, "both").topics.may_publish("rt/emergency_stop")

    before = (folder / "enclaves/demo_control/joystick/key.pem").read_bytes()
    assert run("renew", "--into", folder, "--days", 30).exit_code == 0
    assert (folder / "enclaves/demo_control/joystick/key.pem").read_bytes() != before
    assert may(folder, "joystick").topics == topics


def test_the_keystore_is_that_of_the_environment_or_of_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("init", "--task", "cartpole").exit_code == 0
    assert Keystore(tmp_path / ".config/demo_control/keystore").names()
    assert run("show").exit_code == 0
    monkeypatch.setenv("ROS_SECURITY_KEYSTORE", str(tmp_path / "elsewhere"))
    assert run("show").exit_code == 2


def test_a_driver_behind_ros2_control_may_use_its_topics(tmp_path: Path) -> None:
    wiring = files("stoch2_sim").joinpath("wiring", "stoch2_ros2_control.yaml")
    assert run("init", "--into", tmp_path / "k", "--wiring", wiring).exit_code == 0
    for name in ("stoch2_driver", "stoch2_driver_and_layer_and_policy"):
        told = [topic for topic in may(tmp_path / "k", name).topics.publish if topic.endswith("/commands")]
        assert len(told) == 1, name
    assert not may(tmp_path / "k", "cartpole_driver").topics.may_publish(told[0])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("init", "--task", "moon"), "task 'moon': no installed driver drives its robot; known: cartpole, stoch2"),
        (("init", "--wiring", "nowhere.yaml"), "nowhere.yaml"),
        (("add", "layer"), "cannot be read"),
        (("add", "x", "--publish", "a b"), "publishes: 'a b': expected a ROS name"),
        (("add", "x", "--publish", "a"), "--node: must name the enclave's nodes"),
        (("add", "nobody"), "role 'nobody' is not known; known: policy"),
        (("renew",), "no keystore with enclaves of ours"),
        (("renew", "layer"), "enclave.json: cannot be read"),
        (("show",), "no keystore with enclaves of ours"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    done = run(*words, "--into", tmp_path / "keys")

    assert done.exit_code == 2, done.output
    assert text in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "keys").exists()


def test_what_is_wrong_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    run("init", "--into", folder, "--task", "cartpole", "--days", 10)
    (folder / "private/identity_ca.key.pem").chmod(0o640)
    done = run("show", "--into", folder)
    assert done.exit_code == 1
    assert "identity_ca.key.pem is open to other users (mode 0640): chmod 600" in done.stderr

    (folder / "enclaves/demo_control/layer/key.pem").chmod(0o644)
    done = run("show", "--into", folder)
    assert done.exit_code == 1
    plain = re.sub(r"[\s│]+", "", done.stderr)
    assert "isopentootherusers(mode0644):chmod600" in plain
    assert "democtlsecurityrenew" in plain


def test_a_second_init_changes_nothing(tmp_path: Path) -> None:
    run("init", "--into", tmp_path / "keys", "--task", "cartpole")
    before = (tmp_path / "keys/private/identity_ca.key.pem").read_bytes()
    done = run("init", "--into", tmp_path / "keys")

    assert done.exit_code == 2
    assert "exists; 'democtl security add' and 'renew' change a keystore" in done.stderr
    assert (tmp_path / "keys/private/identity_ca.key.pem").read_bytes() == before
