"""All look-ups of scripts at other servers. In: questions. Out: findings. What each protocol does is a file of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hslpy.client import dovecot, ident, minger, tacacs
from hslpy.client.http_contract import Lookup
from hslpy.client.lookup_contract import (
    Auth,
    Dovecot,
    FindHosts,
    Finding,
    Ident,
    LookupFailed,
    Minger,
    Question,
    Radius,
    Rcpt,
    TacacsLogin,
    TacacsRights,
)
from hslpy.client.probe import SmtpProbes
from hslpy.client.tls import TlsContexts
from hslpy.errors import MailError


class RealLookups:
    """The real `Lookups`. `addresses` gives those of a host, `find_hosts` where mail for a domain or a server goes."""

    def __init__(self, addresses: Lookup, find_hosts: FindHosts, hostname: str, ca_file: str | None = None) -> None:
        self._addresses = addresses
        self._hostname = hostname
        probes = SmtpProbes(TlsContexts(ca_file), find_hosts, hostname)
        self._smtp: dict[type, Callable[[Any], Awaitable[Finding]]] = {Rcpt: probes.rcpt, Auth: probes.auth}

    async def ask(self, question: Question) -> Finding:
        if isinstance(question, Rcpt | Auth):
            return await self._smtp[type(question)](question)
        try:
            (address, *_) = await self._addresses(question.peer.host)
            return await self._ask(question, address)
        except (LookupFailed, MailError, OSError, EOFError, ValueError) as error:
            return Finding(-1, str(error)[:300] or type(error).__name__)

    async def _ask(self, question: Question, address: str) -> Finding:
        if isinstance(question, Ident):
            return await ident.ask(question, address)
        if isinstance(question, Dovecot):
            return await dovecot.ask(question, address)
        if isinstance(question, Radius):
            from hslpy.client import radius  # with pyrad, that few servers need

            return await radius.ask(question, address, self._hostname)
        if isinstance(question, TacacsLogin):
            return await tacacs.log_in(question, address)
        if isinstance(question, TacacsRights):
            return await tacacs.ask_rights(question, address)
        assert isinstance(question, Minger)
        return await minger.ask(question, address)
