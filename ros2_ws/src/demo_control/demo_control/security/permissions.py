"""The documents of DDS Security: governance (how all is protected) and permissions (who may do what).

Formats: OMG DDS Security 1.1, sections 9.4.1.2 and 9.4.1.3. Both are signed by the permissions authority.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from xml.etree import ElementTree

from demo_control.configuration import ConfigurationError
from demo_control.network import LARGEST_DOMAIN
from demo_control.security.access import Topics

_SCHEMAS = "http://www.omg.org/spec/DDS-SECURITY/20170901/omg_shared_ca_{}.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_DOCUMENT = re.compile(rb"<dds.*</dds>", re.DOTALL)
_TIME = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True)
class Domains:
    """ROS domains in which an enclave is valid.

    Attributes:
        first: The first of them.
        last: The last.
    """

    first: int = 0
    last: int = LARGEST_DOMAIN

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.first <= self.last <= LARGEST_DOMAIN:
            raise ConfigurationError(
                f"domains {self.first} to {self.last}: must be between 0 and {LARGEST_DOMAIN}, the lower one first"
            )

    def __str__(self) -> str:
        """As people write it."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Permissions:
    """What an enclave may do.

    Attributes:
        enclave: Its name from the root, as ``/demo_control/layer``.
        topics: That it may publish and subscribe to.
        domains: Where.
        begins: From when on, in UTC.
        ends: Until when, in UTC.
    """

    enclave: str
    topics: Topics
    domains: Domains
    begins: datetime
    ends: datetime

    def document(self) -> bytes:
        """As XML."""
        root = _root("permissions")
        grant = _child(_child(root, "permissions"), "grant")
        grant.set("name", self.enclave)
        _child(grant, "subject_name", f"CN={self.enclave}")
        validity = _child(grant, "validity")
        _child(validity, "not_before", self.begins.strftime(_TIME))
        _child(validity, "not_after", self.ends.strftime(_TIME))
        rule = _child(grant, "allow_rule")
        _add_domains(rule, self.domains)
        for kind, names in (("publish", self.topics.publish), ("subscribe", self.topics.subscribe)):
            topics = _child(_child(rule, kind), "topics")
            for name in sorted(set(names)):
                _child(topics, "topic", name)
        _child(grant, "default", "DENY")
        return _text(root)

    @classmethod
    def read(cls, document: bytes) -> Permissions:
        """Read what :meth:`document` wrote, also as a signed document with its signature behind it.

        Raises:
            ValueError: It is no such document.
        """
        found = _DOCUMENT.search(document)
        if found is None:
            raise ValueError("no permissions in it")
        try:
            grant = ElementTree.fromstring(found.group().replace(b"\r\n", b"\n")).find("permissions/grant")
        except ElementTree.ParseError as error:
            raise ValueError(f"no XML document ({error})") from None
        if grant is None:
            raise ValueError("it grants nothing")

        def texts(path: str) -> tuple[str, ...]:
            return tuple(element.text or "" for element in grant.iterfind(path))

        try:
            [begins], [ends] = texts("validity/not_before"), texts("validity/not_after")
            edges = [int(text) for text in (*texts("allow_rule/domains/id"), *texts("allow_rule/domains/id_range/*"))]
            return cls(
                enclave=grant.get("name", ""),
                topics=Topics(texts("allow_rule/publish/topics/topic"), texts("allow_rule/subscribe/topics/topic")),
                domains=Domains(min(edges), max(edges)),
                begins=_time(begins),
                ends=_time(ends),
            )
        except ValueError as error:
            raise ValueError(f"not as expected ({error})") from None


def governance(domains: Domains) -> bytes:
    """The rules for all participants of some domains, as XML.

    Nobody takes part without an enclave. Every message is encrypted and carries, for each receiver, a code that only
    sender and receiver can make: else whoever may listen to ``action`` had the key to forge it.
    """
    root = _root("governance")
    rule = _child(_child(root, "domain_access_rules"), "domain_rule")
    _add_domains(rule, domains)
    _child(rule, "allow_unauthenticated_participants", "false")
    _child(rule, "enable_join_access_control", "true")
    _child(rule, "discovery_protection_kind", "ENCRYPT")
    _child(rule, "liveliness_protection_kind", "ENCRYPT")
    _child(rule, "rtps_protection_kind", "SIGN")
    topic = _child(_child(rule, "topic_access_rules"), "topic_rule")
    _child(topic, "topic_expression", "*")
    for what in ("discovery_protection", "liveliness_protection", "read_access_control", "write_access_control"):
        _child(topic, f"enable_{what}", "true")
    _child(topic, "metadata_protection_kind", "ENCRYPT_WITH_ORIGIN_AUTHENTICATION")
    _child(topic, "data_protection_kind", "NONE")
    return _text(root)


def _root(schema: str) -> ElementTree.Element:
    ElementTree.register_namespace("xsi", _INSTANCE)
    return ElementTree.Element("dds", {f"{{{_INSTANCE}}}noNamespaceSchemaLocation": _SCHEMAS.format(schema)})


def _child(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name)
    element.text = text
    return element


def _add_domains(rule: ElementTree.Element, domains: Domains) -> None:
    element = _child(rule, "domains")
    if domains.first == domains.last:
        _child(element, "id", str(domains.first))
    else:
        span = _child(element, "id_range")
        _child(span, "min", str(domains.first))
        _child(span, "max", str(domains.last))


def _text(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root) + b"\n"


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc)
