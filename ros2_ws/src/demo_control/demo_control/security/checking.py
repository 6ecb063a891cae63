"""Whether an enclave can be used: complete, in date, its key secret, its parts made for each other.

Signatures of documents are left to the middleware, which refuses to start with wrong ones.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from demo_control.configuration import ConfigurationError
from demo_control.security.authority import is_issued_by, load_certificate, load_key
from demo_control.security.keystore import Keystore
from demo_control.security.permissions import Permissions
from demo_control.security.roles import find_role
from demo_control.security.variables import enclave_path

REQUIRED = (
    "identity_ca.cert.pem", "permissions_ca.cert.pem", "governance.p7s", "cert.pem", "key.pem", "permissions.p7s",
)  # fmt: skip
"""What ROS looks for in an enclave's folder."""
SOON = timedelta(days=30)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class EnclaveState:
    """What was found in an enclave.

    Attributes:
        name: Without the namespace.
        ends: Until when it can be used, in UTC; None if that cannot be read.
        problems: Why it cannot be used.
        warnings: What will soon need somebody.
    """

    name: str
    ends: datetime | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = field(default=())


def check_enclave(keystore: Keystore, name: str, now: datetime, domain: int) -> EnclaveState:
    """Look at an enclave.

    Args:
        keystore: Where it is.
        name: Its name.
        now: Time in UTC.
        domain: The ROS domain that it is wanted in.
    """
    folder = keystore.enclaves / name
    if not folder.is_dir():
        return EnclaveState(name, None, (f"no such enclave: {folder}: {_way_to(name)}",))
    missing = [file for file in REQUIRED if not (folder / file).is_file()]
    if missing:
        return EnclaveState(name, None, (f"{folder} lacks {', '.join(missing)}",))
    problems = list(_open_to_others(folder / "key.pem"))
    try:
        permissions = Permissions.read((folder / "permissions.p7s").read_bytes())
    except OSError as error:
        return EnclaveState(name, None, (*problems, f"{error.filename}: cannot be read ({error.strerror})"))
    except ValueError as error:
        return EnclaveState(name, None, (*problems, f"{folder / 'permissions.p7s'}: {error}"))
    try:
        problems += _certificates(folder)
        certificate = load_certificate(folder / "cert.pem")
        authorities = [load_certificate(folder / f"{kind}_ca.cert.pem") for kind in ("identity", "permissions")]
    except ConfigurationError as error:
        return EnclaveState(name, None, (*problems, str(error)))
    problems += _permissions(permissions, name, domain)
    valid = (certificate, *authorities)
    begins = max(permissions.begins, *(one.not_valid_before_utc for one in valid))
    ends = min(permissions.ends, *(one.not_valid_after_utc for one in valid))
    warnings: tuple[str, ...] = ()
    if now < begins:
        problems.append(f"not valid before {begins:%Y-%m-%d %H:%M} UTC, and the clock says {now:%Y-%m-%d %H:%M}")
    elif now > ends:
        problems.append(f"ended {ends:%Y-%m-%d}: 'democtl security renew'")
    elif now > ends - SOON:
        warnings = (f"ends {ends:%Y-%m-%d}: 'democtl security renew'",)
    return EnclaveState(name, ends, tuple(problems), warnings)


def _way_to(name: str) -> str:
    """How an enclave comes to be."""
    try:
        find_role(name)
    except ConfigurationError:
        return "it is no role; 'democtl security add' makes one for a node of your own"
    return f"'democtl security add {name}'"


def check_authorities(keystore: Keystore) -> list[str]:
    """What is wrong with the authorities' keys; they need not be here."""
    return [problem for key in sorted(keystore.folder.glob("private/*.pem")) for problem in _open_to_others(key)]


def _open_to_others(key: Path) -> Iterator[str]:
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & _OTHERS:
        yield f"{key} is open to other users (mode {mode:04o}): chmod 600 {key}"


def _certificates(folder: Path) -> Iterator[str]:
    """Whether key, certificate and authority belong together."""
    certificate, key = load_certificate(folder / "cert.pem"), load_key(folder / "key.pem")
    if key.public_key() != certificate.public_key():
        yield f"{folder / 'key.pem'} is not the key of cert.pem beside it"
    if not is_issued_by(certificate, load_certificate(folder / "identity_ca.cert.pem")):
        yield f"{folder / 'cert.pem'} is not signed by identity_ca.cert.pem beside it"


def _permissions(permissions: Permissions, name: str, domain: int) -> Iterator[str]:
    """Whether the permissions are this enclave's, and hold here."""
    if permissions.enclave != enclave_path(name):
        yield f"permissions.p7s is that of {permissions.enclave or 'nobody'}"
    if not permissions.domains.first <= domain <= permissions.domains.last:
        yield f"made for ROS domain {permissions.domains}, not {domain}"
