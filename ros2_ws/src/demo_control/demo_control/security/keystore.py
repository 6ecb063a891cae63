"""A keystore on the disk: made, added to, renewed. The layout is SROS 2's, so that ``ros2 security`` can work on it.

    public/      identity_ca.cert.pem, permissions_ca.cert.pem
    private/     their keys, which only making and renewing needs: they do not belong on a robot
    enclaves/    governance.xml, governance.p7s
    enclaves/demo_control/ROLE/   all that a process needs, and enclave.json, from which it can be made again

Everything is made beside its place and renamed into it. A folder of an enclave has no links out of it, so that it can
be copied alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from demo_control.configuration import ConfigurationError
from demo_control.security.access import Access, union
from demo_control.security.authority import BEFORE, Authority, certificate_text, key_text, load_certificate
from demo_control.security.permissions import Domains, Permissions, governance
from demo_control.security.roles import Role, find_role
from demo_control.security.variables import NAMESPACE, enclave_path

AUTHORITY_VALID = timedelta(days=3650)

_IDENTITY, _PERMISSIONS = "identity_ca", "permissions_ca"
_ORIGIN = "enclave.json"
_ENCLAVE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SECRET_FOLDER, _SECRET_FILE, _PUBLIC_FILE = 0o700, 0o600, 0o644


@dataclass(frozen=True)
class Origin:
    """What an enclave was made from.

    Attributes:
        roles: Names of roles: all that these may do in the version that makes or renews it.
        more: What it may do besides.
    """

    roles: tuple[str, ...] = ()
    more: Access = field(default_factory=Access)

    def access(self) -> Access:
        """What it may do.

        Raises:
            ConfigurationError: A role that is not installed.
        """
        return union((*(find_role(name).access for name in self.roles), self.more))


class Keystore:
    """A keystore.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.enclaves = folder / "enclaves" / NAMESPACE

    @classmethod
    def create(
        cls,
        folder: Path,
        roles: Iterable[Role],
        now: datetime,
        valid: timedelta,
        domains: Domains | None = None,
        more: Mapping[str, Access] | None = None,
    ) -> Keystore:
        """Make one, with an enclave for each role.

        Args:
            folder: Must not exist, or be empty.
            roles: Whom it is for.
            now: Time in UTC.
            valid: The enclaves, from now on.
            domains: Where they are; all if None.
            more: What roles may do besides, by name.

        Raises:
            ConfigurationError: The folder holds something, or the time is longer than the authorities'.
            OSError: It cannot be written.
        """
        folder = folder.absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(
                f"{folder}: exists; 'democtl security add' and 'renew' change a keystore, or name another folder"
            )

        def fill(beside: Path) -> None:
            place, new = domains or Domains(), cls(beside)
            for part in ("public", "private", "enclaves", f"enclaves/{NAMESPACE}"):
                (beside / part).mkdir(mode=_SECRET_FOLDER)
            for name, title in ((_IDENTITY, "identity"), (_PERMISSIONS, "permissions")):
                authority = Authority.create(f"{NAMESPACE} {title} authority", now, AUTHORITY_VALID)
                _write(beside / "public" / f"{name}.cert.pem", certificate_text(authority.certificate))
                _write(beside / "private" / f"{name}.key.pem", key_text(authority.key), secret=True)
            document = governance(place)
            _write(beside / "enclaves" / "governance.xml", document)
            _write(beside / "enclaves" / "governance.p7s", new._authority(_PERMISSIONS).sign(document))
            for role in roles:
                origin = Origin((role.name,), (more or {}).get(role.name, Access()))
                (new.enclaves / role.name).mkdir(mode=_SECRET_FOLDER)
                new._fill(new.enclaves / role.name, role.name, origin, now, valid)

        _make(folder, fill)
        return cls(folder)

    def add(self, name: str, origin: Origin, now: datetime, valid: timedelta) -> None:
        """Make one more enclave.

        Raises:
            ConfigurationError: It exists, its name is none, or the keystore has no private keys.
            OSError: It cannot be written.
        """
        if not _ENCLAVE_NAME.fullmatch(name):
            raise ConfigurationError(f"enclave '{name}': expected a letter, then letters, digits and _")
        if (self.enclaves / name).exists():
            raise ConfigurationError(f"{self.enclaves / name}: exists; 'democtl security renew' makes it anew")
        origin.access(), self._authority(_PERMISSIONS)  # before anything is made
        _make(self.enclaves / name, lambda beside: self._fill(beside, name, origin, now, valid))

    def renew(self, name: str, now: datetime, valid: timedelta) -> None:
        """Make an enclave anew: new key and dates, and the permissions of the roles as they are now.

        Raises:
            ConfigurationError: There is no such enclave of ours, or the keystore has no private keys.
            OSError: It cannot be written; the old one is then as it was.
        """
        origin = self.origin(name)
        _make(self.enclaves / name, lambda beside: self._fill(beside, name, origin, now, valid), replace=True)

    def names(self) -> list[str]:
        """The enclaves of ours that are there, sorted."""
        if not self.enclaves.is_dir():
            return []
        return sorted(entry.name for entry in self.enclaves.iterdir() if _ENCLAVE_NAME.fullmatch(entry.name))

    def origin(self, name: str) -> Origin:
        """What an enclave was made from.

        Raises:
            ConfigurationError: There is none, or it cannot be read.
        """
        path = self.enclaves / name / _ORIGIN
        try:
            content = json.loads(path.read_bytes())
            more = {key: tuple(names) for key, names in content["more"].items()}
            return Origin(tuple(content["roles"]), Access(**more))
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigurationError(f"{path}: not what 'democtl security' wrote") from None

    def _authority(self, name: str) -> Authority:
        """One of the authorities.

        Raises:
            ConfigurationError: Its files are not here.
        """
        return Authority.load(self.folder / "public" / f"{name}.cert.pem", self.folder / "private" / f"{name}.key.pem")

    def _fill(self, folder: Path, name: str, origin: Origin, now: datetime, valid: timedelta) -> None:
        """Write all files of an enclave."""
        signing, path = self._authority(_PERMISSIONS), enclave_path(name)
        identity = self._authority(_IDENTITY).certify(path, now, valid)
        signed_rules = self.folder / "enclaves" / "governance.p7s"
        topics = origin.access().topics()
        permissions = Permissions(path, topics, self._domains(), now - BEFORE, now + valid).document()
        contents = {
            "cert.pem": certificate_text(identity.certificate),
            "permissions.xml": permissions,
            "permissions.p7s": signing.sign(permissions),
            "governance.p7s": signed_rules.read_bytes(),
            _ORIGIN: (json.dumps(asdict(origin), indent=2) + "\n").encode(),
        }
        for authority in (_IDENTITY, _PERMISSIONS):
            certificate = load_certificate(self.folder / "public" / f"{authority}.cert.pem")
            contents[f"{authority}.cert.pem"] = certificate_text(certificate)
        _write(folder / "key.pem", key_text(identity.key), secret=True)
        for file, content in contents.items():
            _write(folder / file, content)

    def _domains(self) -> Domains:
        """Where the keystore is valid, as its governance says."""
        path = self.folder / "enclaves" / "governance.xml"
        numbers = [int(text) for text in re.findall(r"<(?:id|min|max)>(\d+)</", path.read_text(encoding="utf-8"))]
        if not numbers:
            raise ConfigurationError(f"{path}: names no domains")
        return Domains(min(numbers), max(numbers))


def _make(folder: Path, fill: Callable[[Path], None], *, replace: bool = False) -> None:
    """Let ``fill`` write a folder beside its place, then rename it into it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Only the user's own: mkdtemp makes it so.
    workshop = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        beside = workshop / folder.name
        beside.mkdir(mode=_SECRET_FOLDER)
        fill(beside)
        if replace:
            folder.rename(workshop / "old")
            try:
                beside.rename(folder)
            except BaseException:
                (workshop / "old").rename(folder)
                raise
        else:
            # An empty folder may be there.
            beside.rename(folder)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _write(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write a new file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET_FILE), "wb") as file:
        file.write(content)
    path.chmod(_SECRET_FILE if secret else _PUBLIC_FILE)
