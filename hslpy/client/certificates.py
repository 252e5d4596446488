"""A server's certificates. In: pairs of PEM files. Out: a context for the next handshake, by the name asked for.

Files are looked at again while the server runs; a pair that cannot be used leaves the one before it in use. Must not know
listeners or connections. Source: RFC 6066 section 3 (SNI), RFC 6125 section 6.4 (a `*` stands for one whole leftmost label).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from hslpy.client.tls import PROTOCOLS
from hslpy.clock import Clock
from hslpy.errors import OperatorError
from hslpy.filestamp import Stamp, stamp_of
from hslpy.late import crypto, x509
from hslpy.log import Log
from hslpy.records import dataclass

DAY_S = 86_400.0
# Told of each day below this, or below the share of its lifetime where that is shorter; as errors below the second.
WARN_DAYS, WARN_SHARE = 30, 1 / 3
ALARM_DAYS, ALARM_SHARE = 7, 1 / 12

Stamps = tuple[Stamp, Stamp]


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files of a certificate chain and its private key; without `key` the key is in the other file."""

    certificate: Path
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A pair that can be used. `names` are in lower case; times are Unix seconds."""

    files: CertificateFiles
    context: ssl.SSLContext
    names: tuple[str, ...]
    valid_from: float
    expires_at: float


@dataclass(slots=True)
class _Kept:
    """`seen` is what the files were when last loaded or refused; `doubted` what they were when that failed just now."""

    files: CertificateFiles
    seen: Stamps
    current: Certificate
    doubted: Stamps | None = None


def read_certificate(files: CertificateFiles, minimum_version: str) -> Certificate:
    """Give the certificate and its context. Blocks. Raises OperatorError that says which file is wrong, and how."""
    chain = _read(files.certificate)
    key = files.key or files.certificate
    pem = _read(key)
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        hint = "it wants the chain, the server's own certificate first"
        raise OperatorError(f"{files.certificate} holds no certificate in PEM", hint=hint) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = PROTOCOLS[minimum_version]
    if minimum_version in ("TLSv1", "TLSv1.1"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL has them no higher

    def refuse() -> NoReturn:  # otherwise OpenSSL asks on the terminal
        raise OperatorError(f"the key {key} has a passphrase", hint=f"take it off: openssl pkey -in {key} -out FILE")

    try:
        context.load_cert_chain(files.certificate, key, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            hint = "`openssl pkey -pubout -in KEY` and `openssl x509 -pubkey -noout -in CERTIFICATE` say the same for a pair"
            raise OperatorError(f"the key {key} is not that of the certificate {files.certificate}", hint=hint) from None
        if b"PRIVATE KEY-----" not in pem:
            hint = "name the file of the private key beside it: `tls_key`, or `key`"
            raise OperatorError(f"{key} holds no private key in PEM", hint=hint) from None
        raise OperatorError(f"cannot use the certificate {files.certificate} with the key {key}: {error}") from None
    except OSError as error:
        raise OperatorError(f"cannot read {files.certificate} or {key}: {error.strerror}") from None
    valid_from, expires_at = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return Certificate(files, context, _names(leaf), valid_from, expires_at)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OperatorError(f"cannot read {file}: {error.strerror}") from None


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        others = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = others.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = [str(each.value) for each in leaf.subject.get_attributes_for_oid(crypto.NameOID.COMMON_NAME)]
    return tuple(name.lower() for name in names)


def chosen(certificates: Sequence[Certificate], asked: str | None) -> Certificate:
    """Give the certificate for the name that a client asks for: the first that bears it, else the first of all."""
    if asked:
        name = asked.lower().rstrip(".")
        wildcard = "*." + name.partition(".")[2]
        for wanted in (name, wildcard):
            for certificate in certificates:
                if wanted in certificate.names:
                    return certificate
    return certificates[0]


def alarm(certificate: Certificate, now: float) -> str | None:
    """Give the level at which to tell that the certificate ends, None while there is time."""
    left = certificate.expires_at - now
    lifetime = certificate.expires_at - certificate.valid_from
    if left < min(ALARM_DAYS * DAY_S, lifetime * ALARM_SHARE):
        return "error"
    return "warning" if left < min(WARN_DAYS * DAY_S, lifetime * WARN_SHARE) else None


def fault_of_time(certificate: Certificate, now: float) -> str:
    """Say how a certificate is not good at a time; "" for one that is."""
    if certificate.expires_at <= now:
        return f"{certificate.files.certificate} ended on {_date(certificate.expires_at)}"
    if certificate.valid_from > now:
        return f"{certificate.files.certificate} is not good before {_date(certificate.valid_from)}"
    return ""


class Certificates:
    """All of a server's. `context` is for the next handshake; None without any. Raises OperatorError as reading does.

    `part` is which server it is: what its events are called by.
    """

    def __init__(self, part: str, files: Sequence[CertificateFiles], minimum_version: str, clock: Clock, log: Log) -> None:
        self._part = part
        self._minimum_version = minimum_version
        self._clock = clock
        self._log = log
        self._kept: list[_Kept] = []
        self._reading = asyncio.Lock()
        self._tell_at = 0.0
        for pair in files:
            seen = _stamps(pair)
            self._kept.append(_Kept(pair, seen, read_certificate(pair, self._minimum_version)))
        self.context = self._joined()

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def names(self) -> frozenset[str]:
        """The names that they bear, in lower case; one may begin with `*.`."""
        return frozenset(name for kept in self._kept for name in kept.current.names)

    async def refresh(self, *, everything: bool = False) -> bool:
        """Take up the pairs whose files have changed, or all; give whether each of these can be used.

        What cannot is logged, and the certificate before it stays. Where the files have only just changed, that waits for
        the next time: one file of the two may be still to come.
        """
        if not self._kept:
            return True
        async with self._reading:
            results = await asyncio.to_thread(self._look, everything)
            taken = [kept for kept, result in results if isinstance(result, Certificate)]
            for kept, result in results:
                if isinstance(result, Certificate):
                    kept.current = result
                    self._log(f"{self._part}.certificate_loaded", _about(result))
                else:
                    fields = {"level": "error", "certificate": kept.files.certificate, "why": result.message}
                    self._log(f"{self._part}.certificate_kept", fields)
            if taken:
                self.context = self._joined()
                self._tell_at = 0.0
            return len(taken) == len(results)

    def _look(self, everything: bool) -> list[tuple[_Kept, Certificate | OperatorError]]:
        results: list[tuple[_Kept, Certificate | OperatorError]] = []
        for kept in self._kept:
            stamps = _stamps(kept.files)
            if stamps == kept.seen and not everything:
                continue
            try:
                result: Certificate | OperatorError
                result = found = read_certificate(kept.files, self._minimum_version)
                self._refuse_worse(kept.current, found)
            except OperatorError as error:
                if kept.doubted != stamps and not everything:
                    kept.doubted = stamps
                    continue
                result = error
            kept.seen, kept.doubted = stamps, None
            results.append((kept, result))
        return results

    def _refuse_worse(self, current: Certificate, new: Certificate) -> None:
        now = self._clock.time()
        fault = fault_of_time(new, now)
        if fault and not fault_of_time(current, now):
            raise OperatorError(f"{fault}, the one in use is good until {_date(current.expires_at)}")

    def tell_of_expiry(self) -> None:
        """Log which certificates end soon, once a day."""
        now = self._clock.time()
        if now < self._tell_at:
            return
        self._tell_at = now + DAY_S
        for kept in self._kept:
            level = alarm(kept.current, now)
            if level is not None:
                left = kept.current.expires_at - now
                fields = {"level": level, **_about(kept.current), "days_left": round(left / DAY_S, 1)}
                if left > 0:
                    self._log(f"{self._part}.certificate_expires", fields)
                else:
                    self._log(f"{self._part}.certificate_expired", fields)
            elif kept.current.valid_from > now:
                self._log(f"{self._part}.certificate_not_yet_valid", {"level": "error", **_about(kept.current)})

    def _joined(self) -> ssl.SSLContext | None:
        """Give the first pair's context, which takes another's where the client asks for a name of that."""
        if not self._kept:
            return None
        certificates = [kept.current for kept in self._kept]

        def note_name(secure: Any, name: str | None, _context: ssl.SSLContext) -> None:
            secure.asked_name = name
            certificate = chosen(certificates, name)
            if certificate is not certificates[0]:
                secure.context = certificate.context

        certificates[0].context.sni_callback = note_name
        return certificates[0].context


def _about(certificate: Certificate) -> dict[str, object]:
    return {
        "certificate": certificate.files.certificate,
        "names": ",".join(certificate.names),
        "expires": _date(certificate.expires_at),
    }


def _date(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _stamps(files: CertificateFiles) -> Stamps:
    return stamp_of(files.certificate), stamp_of(files.key or files.certificate)
