"""What is looked at before anything is started: each fault by name, and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from demo_control.security.checking import REQUIRED, check_enclave
from demo_control.security.keystore import Keystore
from demo_control.security.permissions import Domains
from demo_control.security.roles import find_role


def problem(keystore: Keystore, now: datetime, domain: int = 0, name: str = "layer") -> str:
    state = check_enclave(keystore, name, now, domain)
    assert len(state.problems) == 1, state
    return state.problems[0]


def test_all_enclaves_of_a_new_keystore_are_in_order(made: Keystore, now: datetime) -> None:
    for name in made.names():
        state = check_enclave(made, name, now, 101)
        assert (state.problems, state.warnings, state.ends) == ((), (), now + timedelta(days=365))


@pytest.mark.parametrize("file", REQUIRED)
def test_a_missing_file_is_named(keystore: Keystore, now: datetime, file: str) -> None:
    (keystore.enclaves / "layer" / file).unlink()
    assert problem(keystore, now).endswith(f"layer lacks {file}")


@pytest.mark.parametrize(
    ("days", "problems", "warnings"),
    [
        (-2, "not valid before 2030-05-31 12:00 UTC, and the clock says 2030-05-30", ""),
        (0, "", ""),
        (334, "", ""),
        (336, "", "ends 2031-06-01: 'democtl security renew'"),
        (366, "ended 2031-06-01: 'democtl security renew'", ""),
    ],
)
def test_dates(keystore: Keystore, now: datetime, days: int, problems: str, warnings: str) -> None:
    state = check_enclave(keystore, "layer", now + timedelta(days=days), 0)

    assert "".join(state.problems).startswith(problems)
    assert bool(state.problems) == bool(problems)
    assert "".join(state.warnings) == warnings


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(keystore: Keystore, now: datetime, mode: int) -> None:
    (keystore.enclaves / "layer" / "key.pem").chmod(mode)
    assert f"open to other users (mode {mode:04o}): chmod 600" in problem(keystore, now)


def copied(*files: str) -> Callable[[Path, Path], None]:
    def copy(layer: Path, policy: Path) -> None:
        for file in files:
            shutil.copy2(policy / file, layer / file)

    return copy


def truncated(file: str) -> Callable[[Path, Path], None]:
    def cut(layer: Path, _policy: Path) -> None:
        content = (layer / file).read_bytes()
        (layer / file).write_bytes(content[: len(content) // 3])

    return cut


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (copied("key.pem"), "key.pem is not the key of cert.pem beside it"),
        (copied("permissions.p7s"), "permissions.p7s is that of /demo_control/policy"),
        (truncated("cert.pem"), "cert.pem: no certificate"),
        (truncated("key.pem"), "key.pem: no private key"),
        (truncated("permissions.p7s"), "permissions.p7s: no permissions in it"),
        (truncated("identity_ca.cert.pem"), "identity_ca.cert.pem: no certificate"),
    ],
)
def test_parts_that_do_not_belong_together_are_told(
    keystore: Keystore, now: datetime, change: Callable[[Path, Path], None], text: str
) -> None:
    change(keystore.enclaves / "layer", keystore.enclaves / "policy")
    assert text in problem(keystore, now)


def test_a_certificate_of_another_authority_is_told(keystore: Keystore, now: datetime, tmp_path: Path) -> None:
    other = Keystore.create(tmp_path / "other", [find_role("layer")], now, timedelta(days=9))
    shutil.copy2(other.enclaves / "layer" / "identity_ca.cert.pem", keystore.enclaves / "layer")
    assert "cert.pem is not signed by identity_ca.cert.pem" in problem(keystore, now)


def test_the_domain_must_be_that_of_the_keystore(tmp_path: Path, now: datetime) -> None:
    keystore = Keystore.create(tmp_path / "k", [find_role("layer")], now, timedelta(days=99), Domains(7, 7))

    assert check_enclave(keystore, "layer", now, 7).problems == ()
    assert problem(keystore, now, domain=8) == "made for ROS domain 7, not 8"
    assert problem(keystore, now, domain=7, name="policy").startswith("no such enclave: ")
