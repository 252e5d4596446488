"""SMTP servers asked without mail being sent: is a recipient taken, is a login right. In: a question, addresses.

Out: a finding. One connection a question, left with QUIT. Must not know of scripts.
"""

from __future__ import annotations

import ssl

from hslpy.client.contract import Route
from hslpy.client.link import NO_LOGIN, Link, LinkFailed, open_link
from hslpy.client.lookup_contract import Auth, FindHosts, Finding, Rcpt, Server
from hslpy.client.tls import TlsContexts
from hslpy.client.transaction import mail_line, rcpt_line
from hslpy.errors import MailError


class SmtpProbes:
    """`hostname` is the name said in EHLO where the question has none."""

    def __init__(self, contexts: TlsContexts, find_hosts: FindHosts, hostname: str) -> None:
        self._contexts = contexts
        self._find_hosts = find_hosts
        self._hostname = hostname

    async def rcpt(self, question: Rcpt) -> Finding:
        """MAIL and RCPT; the code 1 is that both were taken, 0 that one was refused."""
        try:
            link = await self._open(question.server, question.recipient.domain)
        except LinkFailed as failure:
            return _failed(failure)
        try:
            state, reply = "MAIL", await link.command("MAIL", mail_line(link, question.sender, question.sender_params))
            if reply.code == 250:
                line = rcpt_line(link, question.recipient, question.recipient_params)
                state, reply = "RCPT", await link.command("RCPT", line)
            return Finding(
                1 if reply.code in (250, 251) and state == "RCPT" else 0,
                reply=reply,
                state=state,
                tls=link.tls,
                certificate=_certificate(link),
            )
        except LinkFailed as failure:
            return _failed(failure)
        finally:
            await link.quit()

    async def auth(self, question: Auth) -> Finding:
        """Sign in; the code 1 is that it worked, 0 that the server said no, for good."""
        if "\0" in f"{question.server.sasl_username}{question.server.sasl_password}":
            return Finding(0, NO_LOGIN, state="AUTH")
        try:
            link = await self._open(question.server, "")
        except LinkFailed as failure:
            refused = failure.state == "AUTH" and failure.reply is not None and failure.reply.code >= 500
            return Finding(0, failure.message, failure.reply, "AUTH") if refused else _failed(failure)
        await link.quit()
        return Finding(1, state="AUTH", tls=link.tls)

    async def _open(self, server: Server, domain: str) -> Link:
        """Give a link to the first host that can be reached. Raises LinkFailed."""
        try:
            hosts = await self._find_hosts(server, domain)
        except MailError as error:
            raise LinkFailed("CONNECT", error.message) from None
        failed = LinkFailed("CONNECT", "there is no host")
        for host, address in hosts:
            try:
                return await open_link(self._route(server, host, address), self._contexts)
            except LinkFailed as failure:
                failed = failure
                if failure.state == "AUTH":  # another host of the same server would only say so too
                    break
        raise failed

    def _route(self, server: Server, host: str, address: str) -> Route:
        return Route(
            host=host,
            address=address,
            port=server.port,
            source_ip=server.source_ip,
            nonlocal_source=server.nonlocal_source,
            helo=server.helo or self._hostname,
            protocol=server.protocol,
            tls=server.tls,
            tls_sni=server.tls_sni,
            tls_names=server.tls_names,
            tls_verify_host=server.tls_verify_host or bool(server.tls_names),
            tls_wanted=server.tls_wanted,
            sasl_username=server.sasl_username,
            sasl_password=server.sasl_password,
            xclient=server.xclient,
            timeouts=server.timeouts,
        )


def _failed(failure: LinkFailed) -> Finding:
    return Finding(-1, failure.message, failure.reply, failure.state)


def _certificate(link: Link) -> bytes:
    tls: ssl.SSLObject | None = link.smtp.get_transport_info("ssl_object") if link.smtp.is_connected else None
    return (tls.getpeercert(binary_form=True) if tls is not None else None) or b""
