"""Keys, certificates and signatures, by the package `cryptography`, as DDS Security's built-in plugins take them.

Keys are on the curve P-256, signatures are ECDSA with SHA-256 (OMG DDS Security 1.1, table 49).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from demo_control.configuration import ConfigurationError

BEFORE = timedelta(days=1)
"""Certificates begin in the past: clocks differ, and Fast DDS reads the times of permissions as local ones."""


@dataclass(frozen=True)
class Authority:
    """Signs certificates or documents.

    Attributes:
        certificate: Its own, signed by itself.
        key: Its private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str, now: datetime, valid: timedelta) -> Authority:
        """A new one, with a new key.

        Args:
            name: Its common name.
            now: Time in UTC.
            valid: From now on.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        builder = _builder(subject, subject, key.public_key(), now, valid)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Authority:
        """Read one.

        Raises:
            ConfigurationError: A file is missing or is none, or they do not belong together.
        """
        found = load_certificate(certificate)
        private = load_key(key)
        if private.public_key() != found.public_key():
            raise ConfigurationError(f"{key}: not the key of {certificate}")
        return cls(found, private)

    @property
    def ends(self) -> datetime:
        """Until when it can be used, in UTC."""
        return self.certificate.not_valid_after_utc

    def certify(self, name: str, now: datetime, valid: timedelta) -> Identity:
        """A certificate and a new key for somebody.

        Args:
            name: Their common name.
            now: Time in UTC.
            valid: From now on.

        Raises:
            ConfigurationError: Longer than the authority's own.
        """
        if now + valid > self.ends:
            raise ConfigurationError(
                f"valid for {valid.days} days: longer than the authority that signs, which ends {self.ends:%Y-%m-%d}"
            )
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self.certificate.subject, key.public_key(), now, valid)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        return Identity(builder.sign(self.key, hashes.SHA256()), key)

    def sign(self, document: bytes) -> bytes:
        """A document with its signature, as S/MIME with the text in the clear."""
        signer = pkcs7.PKCS7SignatureBuilder().set_data(document)
        signer = signer.add_signer(self.certificate, self.key, hashes.SHA256())
        options = [pkcs7.PKCS7Options.Text, pkcs7.PKCS7Options.DetachedSignature]
        return signer.sign(serialization.Encoding.SMIME, options)


@dataclass(frozen=True)
class Identity:
    """Who somebody is.

    Attributes:
        certificate: Signed by an authority.
        key: The private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def certificate_text(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PEM, not encrypted: nodes start without anybody there."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate.

    Raises:
        ConfigurationError: It is missing or is none.
    """
    content = _read(path)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise ConfigurationError(f"{path}: no certificate") from None


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key.

    Raises:
        ConfigurationError: It is missing, is none, or is one of another kind.
    """
    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError):
        raise ConfigurationError(f"{path}: no private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"{path}: expected a key on an elliptic curve")
    return key


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether an authority has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + valid)
    )
