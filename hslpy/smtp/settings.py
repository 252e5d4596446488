"""What the SMTP server can be told. In: values from `config`. Out: frozen dataclasses. Defaults are for an outbound relay.

Must not know of files or the environment.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

from hslpy.client.certificates import CertificateFiles
from hslpy.errors import OperatorError
from hslpy.records import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on; `server_id` is what scripts see as `$serverid`. Port 0 takes any free port."""

    host: str = "127.0.0.1"
    port: int = 2525
    server_id: str = "mailserver:1"
    tls: Literal["none", "starttls", "implicit"] = "starttls"


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Sizes count bytes. `relay_networks` may relay without signing in. STARTTLS and implicit TLS need a certificate."""

    listeners: tuple[Listener, ...] = (Listener(),)
    hostname: str = "localhost"
    relay_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    transport_id: str = "mailtransport:1"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_minimum_version: Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    certificates: tuple[CertificateFiles, ...] = ()
    auth_without_tls: bool = False
    auth_mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN")
    auth_delay_s: float = 1.0
    max_auth_failures: int = 3
    # Limits of failed logins: more than people behind one address mistype, far less than guessing wants.
    auth_window_s: float = 600.0
    auth_block_s: float = 900.0
    auth_failures_per_client: int = 20
    auth_failures_per_user_network: int = 30
    auth_failures_per_user: int = 100
    auth_exempt_networks: tuple[str, ...] = ()
    users_file: Path | None = None
    auth_threads: int = 2
    auth_waiting: int = 100
    size_limit_bytes: int = 32 * MIB
    header_limit_bytes: int = 102_400  # Postfix's header_size_limit
    line_limit_bytes: int = 1000  # RFC 5321 section 4.5.3.1.6, CRLF included
    data_memory_bytes: int = 512 * MIB  # messages being received, all sessions together
    max_recipients: int = 1000
    max_received: int = 50  # Postfix's hopcount_limit
    max_connections: int = 2000
    max_connections_per_client: int = 200
    max_errors: int = 20  # Postfix's smtpd_hard_error_limit
    max_unknown_commands: int = 10
    idle_timeout_s: float = 300.0  # RFC 5321 section 4.5.3.2.7
    data_timeout_s: float = 270.0  # below the 600 s that RFC 5321 4.5.3.2.6 asks of clients, and the 300 s many have
    greeting_delay_s: float = 0.0  # Postfix's postscreen_greet_wait is 6
    ptr_lookup: bool = False
    backlog: int = 1024

    @property
    def certificate_files(self) -> tuple[CertificateFiles, ...]:
        """All certificates; the first is for clients that ask for no name, or for one that none bears."""
        first = () if self.tls_certificate is None else (CertificateFiles(self.tls_certificate, self.tls_key),)
        return (*first, *self.certificates)


def cannot_listen(listener: Listener, error: OSError) -> OperatorError:
    """Give what is wrong with the listener's address, and what to do about it."""
    number = error.errno or 0
    hint = {
        errno.EADDRINUSE: f"`ss -ltnp 'sport = :{listener.port}'` shows which process has it",
        errno.EADDRNOTAVAIL: "`ip address` shows the addresses of this machine",
        errno.EACCES: "ports below 1024 want root or CAP_NET_BIND_SERVICE",
    }.get(number)
    why = os.strerror(number) if number > 0 else error.strerror or str(error)
    return OperatorError(f"cannot listen on {listener.host} port {listener.port}: {why}", hint=hint)
