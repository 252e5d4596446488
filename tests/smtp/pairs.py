"""Certificates and keys made by the test that wants them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def pair(
    folder: Path,
    names: Sequence[str] = ("localhost",),
    *,
    days: float = 90,
    age_days: float = 0,
    passphrase: bytes = b"",
    stem: str = "",
    now: dt.datetime | None = None,
) -> tuple[Path, Path]:
    """Write a certificate for `names`, of `days` altogether and `age_days` old, and its key; give both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "nobody")])
    start = (now or dt.datetime.now(dt.UTC)) - dt.timedelta(days=age_days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    hiding: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    files = folder / f"{stem}cert.pem", folder / f"{stem}key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hiding))
    return files
