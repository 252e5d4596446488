"""What the settings say of page and API. In: nothing. Out: a frozen dataclass; must not import FastAPI."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from hslpy.client.certificates import CertificateFiles
from hslpy.errors import OperatorError
from hslpy.records import dataclass, record

MINIMUM_VERSION = "TLSv1.2"  # every browser since 2014; RFC 8996 ended those before


@record
class Address:
    """An IP address and a port to listen on."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """Where page and API are served over TCP: over TLS with a `certificate`, and on loopback alone until there is one.

    `names` are host names that the page may be asked for by, beside those that are known anyway.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8025",)
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises OperatorError for an address that cannot be read, or would be served to others without TLS."""
        addresses = self.addresses
        if len(set(addresses)) < len(addresses):
            raise OperatorError("admin.listen has an address twice", hint="leave one of them out")
        if self.key is not None and self.certificate is None:
            raise OperatorError("admin.key is set without admin.certificate", hint="name the certificate's file too")
        outside = [str(one) for one in addresses if not one.is_loopback]
        if outside and self.certificate is None:
            raise OperatorError(
                f"admin.listen has {', '.join(outside)}, which others can reach, and there is no admin.certificate",
                hint="set admin.certificate and admin.key. The page is served over TLS when a certificate is set, and only"
                " on loopback until then, such as 127.0.0.1:8025",
            )

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Raises OperatorError."""
        return tuple(map(_address, self.listen))

    @property
    def files(self) -> CertificateFiles | None:
        return None if self.certificate is None else CertificateFiles(self.certificate, self.key)

    def url_elsewhere(self, hostname: str) -> str:
        """Give the address of the page for people at other machines, empty where they cannot reach it."""
        for address in self.addresses:
            if not address.is_loopback:
                name = self.names[0] if self.names else hostname
                return f"https://{name}/" if address.port == 443 else f"https://{name}:{address.port}/"
        return ""

    def url(self, address: Address) -> str:
        """Give the address of the page there, as a person types it in."""
        whole = ipaddress.ip_address(address.host).is_unspecified
        shown = Address("::1" if ":" in address.host else "127.0.0.1", address.port) if whole else address
        return f"{'http' if self.certificate is None else 'https'}://{shown}/"


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        found = ipaddress.ip_address(host)
        number = int(port) if port.isascii() and port.isdecimal() else -1
    except ValueError:
        number = -1
    if not 0 <= number < 65536:
        raise OperatorError(
            f"admin.listen has {text!r}, which is no address and port",
            hint="write `127.0.0.1:8025` or `[::1]:8025`; `0.0.0.0:443` is all addresses of this machine",
        )
    return Address(str(found), number)
