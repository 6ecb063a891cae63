"""The keystore on the disk: layout, modes, signatures as another implementation (openssl) sees them, no half of one."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from demo_control.configuration import ConfigurationError
from demo_control.security import keystore as module
from demo_control.security.access import Access
from demo_control.security.authority import load_certificate, load_key
from demo_control.security.checking import REQUIRED
from demo_control.security.keystore import Keystore, Origin
from demo_control.security.permissions import Domains, Permissions
from demo_control.security.roles import find_role, roles_of

YEAR = timedelta(days=365)

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)


def permissions(keystore: Keystore, name: str) -> Permissions:
    return Permissions.read((keystore.enclaves / name / "permissions.p7s").read_bytes())


def serial(keystore: Keystore, name: str) -> int:
    return load_certificate(keystore.enclaves / name / "cert.pem").serial_number


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_layout_is_that_of_ros(made: Keystore) -> None:
    top = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if "demo_control/" not in str(path)}

    assert top == {
        "public", "public/identity_ca.cert.pem", "public/permissions_ca.cert.pem",
        "private", "private/identity_ca.key.pem", "private/permissions_ca.key.pem",
        "enclaves", "enclaves/governance.xml", "enclaves/governance.p7s", "enclaves/demo_control",
    }  # fmt: skip
    assert set(made.names()) == {role.name for role in roles_of()}
    for name in made.names():
        files = {entry.name for entry in (made.enclaves / name).iterdir()}
        assert files == {*REQUIRED, "permissions.xml", "enclave.json"}


def test_keys_are_the_users_alone_and_no_link_leads_out_of_an_enclave(made: Keystore) -> None:
    for path in (made.folder, *made.folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not path.is_symlink()
        if path.is_dir():
            assert mode == 0o700, path
        else:
            assert mode == (0o600 if path.name.endswith("key.pem") else 0o644), path


def test_every_process_has_a_key_and_a_name_of_its_own(made: Keystore, now: datetime) -> None:
    keys = set()
    for name in made.names():
        certificate = load_certificate(made.enclaves / name / "cert.pem")
        keys.add(load_key(made.enclaves / name / "key.pem").private_numbers().private_value)
        assert certificate.subject.rfc4514_string() == f"CN=/demo_control/{name}"
        assert certificate.not_valid_before_utc == now - timedelta(days=1)
        assert certificate.not_valid_after_utc == now + YEAR
        granted = permissions(made, name)
        assert (granted.begins, granted.ends) == (now - timedelta(days=1), now + YEAR)
        assert set(granted.topics.publish) == set(find_role(name).access.topics().publish)
    assert len(keys) == len(made.names())


@needs_openssl
def test_openssl_finds_the_signatures_right_and_a_changed_document_wrong(made: Keystore, tmp_path: Path) -> None:
    folder = made.enclaves / "layer"
    authority = folder / "permissions_ca.cert.pem"
    for kind, document in (("governance", made.folder / "enclaves"), ("permissions", folder)):
        signed = folder / f"{kind}.p7s"
        for program in ("smime", "cms"):
            done = openssl(program, "-verify", "-text", "-in", signed, "-CAfile", authority, "-no_check_time")
            assert done.returncode == 0, done.stderr
            assert done.stdout.replace(b"\r\n", b"\n") == (document / f"{kind}.xml").read_bytes()
        other = openssl(
            "smime", "-verify", "-text", "-in", signed, "-CAfile", folder / "identity_ca.cert.pem", "-no_check_time"
        )
        assert other.returncode != 0
    forged = tmp_path / "permissions.p7s"
    forged.write_bytes((folder / "permissions.p7s").read_bytes().replace(b"rt/planner_status", b"rt/emergency_stop"))
    assert openssl("smime", "-verify", "-text", "-in", forged, "-CAfile", authority, "-no_check_time").returncode != 0


@needs_openssl
def test_openssl_finds_the_certificates_right_and_another_authoritys_wrong(made: Keystore, now: datetime) -> None:
    for name in made.names():
        folder = made.enclaves / name
        arguments = ("verify", "-no_check_time", "-CAfile")
        assert openssl(*arguments, folder / "identity_ca.cert.pem", folder / "cert.pem").returncode == 0
        assert openssl(*arguments, folder / "permissions_ca.cert.pem", folder / "cert.pem").returncode != 0
        for then, is_over in ((now, False), (now + YEAR + timedelta(hours=1), True)):
            chain = ("-CAfile", folder / "identity_ca.cert.pem", folder / "cert.pem")
            asked = openssl("verify", "-attime", str(int(then.timestamp())), *chain)
            assert (asked.returncode != 0, b"expired" in asked.stderr) == (is_over, is_over), asked.stderr
    text = openssl("x509", "-noout", "-text", "-in", made.enclaves / "layer" / "cert.pem").stdout
    assert b"prime256v1" in text
    assert b"ecdsa-with-SHA256" in text


def test_a_keystore_is_never_made_over_something(made: Keystore, tmp_path: Path, now: datetime) -> None:
    before = contents(made.folder)
    with pytest.raises(ConfigurationError, match=r"exists; 'democtl security add' and 'renew' change a keystore"):
        Keystore.create(made.folder, roles_of(), now, YEAR)
    assert contents(made.folder) == before
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="exists"):
        Keystore.create(tmp_path / "file", roles_of(), now, YEAR)
    (tmp_path / "empty").mkdir()
    assert Keystore.create(tmp_path / "empty", [find_role("layer")], now, YEAR).names() == ["layer"]


Act = Callable[[Keystore, datetime], object]
CHANGES: dict[str, Act] = {
    "create": lambda store, now: Keystore.create(store.folder.parent / "new", roles_of(), now, YEAR),
    "add": lambda store, now: store.add("mine", Origin(("viewer",)), now, YEAR),
    "renew": lambda store, now: store.renew("layer", now, YEAR),
}


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("change", CHANGES)
def test_what_fails_half_way_leaves_nothing_behind(
    keystore: Keystore, now: datetime, monkeypatch: pytest.MonkeyPatch, change: str, failure: BaseException
) -> None:
    before = contents(keystore.folder.parent)
    write, count = module._write, 0

    def fail_at_last(path: Path, content: bytes, *, secret: bool = False) -> None:
        nonlocal count
        count += 1
        write(path, content, secret=secret)
        if path.name == "permissions.p7s":
            raise failure

    monkeypatch.setattr(module, "_write", fail_at_last)
    with pytest.raises(type(failure)):
        CHANGES[change](keystore, now)
    assert count > 2
    assert contents(keystore.folder.parent) == before
    assert sorted(entry.name for entry in keystore.folder.parent.iterdir()) == ["keystore"]


def test_a_renewal_that_cannot_take_its_place_leaves_the_old_one(
    keystore: Keystore, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename, calls = contents(keystore.folder), Path.rename, 0

    def fail_once(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="Input/output error"):
        keystore.renew("layer", now, YEAR)
    assert contents(keystore.folder) == before


def test_renewing_gives_new_keys_new_dates_and_the_permissions_of_today(keystore: Keystore, now: datetime) -> None:
    others = contents(keystore.enclaves / "policy")
    before, key = serial(keystore, "layer"), (keystore.enclaves / "layer" / "key.pem").read_bytes()
    keystore.renew("layer", now + timedelta(days=300), YEAR)

    assert serial(keystore, "layer") != before
    assert (keystore.enclaves / "layer" / "key.pem").read_bytes() != key
    assert permissions(keystore, "layer").ends == now + timedelta(days=665)
    assert contents(keystore.enclaves / "policy") == others


def test_an_enclave_of_the_users_own_keeps_what_it_may_do(keystore: Keystore, now: datetime) -> None:
    more = Access(nodes=("joystick",), publishes=("cmd_vel",), calls=("walk",))
    keystore.add("joystick", Origin((), more), now, YEAR)
    keystore.renew("joystick", now + YEAR, YEAR)
    granted = permissions(keystore, "joystick")

    assert granted.topics.may_publish("rt/cmd_vel")
    assert granted.topics.may_publish("rq/walkRequest")
    assert not granted.topics.may_publish("rt/action")
    assert (granted.enclave, granted.ends) == ("/demo_control/joystick", now + 2 * YEAR)
    assert keystore.origin("joystick") == Origin((), more)


@pytest.mark.parametrize(
    ("name", "text"),
    [("layer", "exists; 'democtl security renew'"), ("../out", "expected a letter"), ("a b", "expected a letter")],
)
def test_enclaves_that_cannot_be_added(keystore: Keystore, now: datetime, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        keystore.add(name, Origin(("viewer",)), now, YEAR)


def test_without_the_private_keys_nothing_is_signed(keystore: Keystore, now: datetime) -> None:
    shutil.rmtree(keystore.folder / "private")
    for act in (CHANGES["add"], CHANGES["renew"]):
        with pytest.raises(
            ConfigurationError, match=r"private/permissions_ca\.key\.pem: cannot be read \(No such file"
        ):
            act(keystore, now)


def test_an_enclave_does_not_outlive_its_authority(keystore: Keystore, now: datetime) -> None:
    with pytest.raises(ConfigurationError, match="longer than the authority that signs, which ends 2040-05-2"):
        keystore.renew("layer", now + timedelta(days=3500), YEAR)


def test_domains_and_more_topics_are_kept(tmp_path: Path, now: datetime) -> None:
    more = {"stoch2_driver": Access(("legs_bridge",), ("controller/commands",), ("joint_states",))}
    keystore = Keystore.create(tmp_path / "k", roles_of(["stoch2"]), now, YEAR, Domains(7, 7), more)
    keystore.renew("stoch2_driver", now, YEAR)

    assert permissions(keystore, "stoch2_driver").domains == Domains(7, 7)
    assert permissions(keystore, "stoch2_driver").topics.may_publish("rt/controller/commands")
    assert not permissions(keystore, "layer").topics.may_publish("rt/controller/commands")
    assert "<id>7</id>" in (keystore.folder / "enclaves" / "governance.xml").read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"roles": 3, "more": {}}', '{"roles": [], "more": {"x": []}}'])
def test_a_broken_origin_is_told(keystore: Keystore, now: datetime, text: str) -> None:
    (keystore.enclaves / "layer" / "enclave.json").write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape("enclave.json: not what 'democtl security' wrote")):
        keystore.renew("layer", now, YEAR)


def test_the_users_umask_opens_nothing(tmp_path: Path, now: datetime) -> None:
    before = os.umask(0)
    try:
        keystore = Keystore.create(tmp_path / "k", [find_role("layer")], now, YEAR)
    finally:
        os.umask(before)
    for path in (keystore.folder, *keystore.folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode in ({0o700} if path.is_dir() else {0o600, 0o644}), path
