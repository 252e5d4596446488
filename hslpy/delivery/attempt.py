"""One attempt: recipients of a message that share all decisions, at the hosts of one destination. Out: an `Outcome` each.

Chooses target after target, a source for each, and hands both to the client. Must not know of hooks or the queue.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hslpy.client.contract import Client, RecipientResult, Route, Timeouts, TlsWanted, TransactionResult
from hslpy.clock import Clock
from hslpy.delivery.outcome import Outcome, Success, outcome_of_error, outcome_of_problem, outcome_of_reply, waiting
from hslpy.delivery.plan import OwnListeners, Target, TargetRules
from hslpy.delivery.settings import DeliverySettings, Transport
from hslpy.delivery.targets import find_targets
from hslpy.dns.contract import Resolver
from hslpy.egress.sources import Choice, Look, Source, Sources, UnknownSource, choose_source, family_of, rotated
from hslpy.egress.tally import Tally
from hslpy.hooks.facts import AttemptFacts, TlsFacts
from hslpy.log import Log
from hslpy.mail.address import Address
from hslpy.mail.verdict import TryOptions

LOOKUP_MX = "lookup-mx"  # the host that asks for MX delivery whatever the transport says; the HSL manual, Try

LOOKUP_SHARE = 0.5  # of an attempt's time that DNS may take: hosts found by then can still be tried


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be sent: one envelope, its content, and `key`, which spreads messages over configured sources.

    `by` is the line of the script that said how, for the log.
    """

    sender: Address
    recipients: tuple[Address, ...]
    content: bytes
    sender_params: Mapping[str, str]
    recipient_params: tuple[Mapping[str, str], ...]
    key: int
    ids: Mapping[str, object]
    by: str = ""


class Attempts:
    """Makes attempts. Holds no state but what it is given; `own_listeners` is known once these listen."""

    def __init__(
        self,
        settings: DeliverySettings,
        resolver: Resolver,
        client: Client,
        sources: Sources,
        clock: Clock,
        rng: random.Random,
        log: Log,
        tally: Tally | None = None,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._client = client
        self._sources = sources
        self._clock = clock
        self._random = rng
        self._log = log
        self._tally = tally or Tally(clock)
        self.own_listeners = OwnListeners()

    async def make(self, parcel: Parcel, options: TryOptions, transport: Transport) -> tuple[Outcome, ...]:
        """Try the parcel, and give an outcome a recipient, in order."""
        try:
            candidates, named_by = self._candidates(options, transport, parcel.key)
        except UnknownSource as error:
            self._log("delivery.source_unknown", {"level": "error", **parcel.ids, "error": error.message})
            return self._all(parcel, waiting(error.message, self._settings.wait_s))
        host, use_mx, port = destination(options, transport, parcel.recipients[0].domain)
        rules = self._rules(options, transport, candidates)
        prefer = self._settings.prefer_family
        until = self._clock.monotonic() + self._settings.attempt_s
        limit_s = self._settings.attempt_s * LOOKUP_SHARE
        plan = await find_targets(
            self._resolver, host, port, rules, self._random, use_mx=use_mx, prefer=prefer, limit_s=limit_s
        )
        if plan.problem is not None:
            if plan.skipped:
                self._log("delivery.no_target", {**parcel.ids, "skipped": list(plan.skipped)})
            return self._all(parcel, outcome_of_problem(plan.problem))
        return await self._over(plan.targets, parcel, options, transport, candidates, named_by, until)

    async def _over(
        self,
        targets: Sequence[Target],
        parcel: Parcel,
        options: TryOptions,
        transport: Transport,
        candidates: Sequence[Source],
        named_by: str,
        until: float,
    ) -> tuple[Outcome, ...]:
        """Try target after target until one has taken the message or said no to it, or the time is up."""
        outcomes: tuple[Outcome, ...] | None = None
        missed: list[Choice] = []
        unbound: dict[str, float] = {}
        for number, target in enumerate(targets):
            while True:
                choice = self._choose(candidates, target, unbound)
                if choice.source is None:
                    missed.append(choice)
                    break
                route = self._route(target, choice.source, options, transport)
                result = await self._send(route, parcel, until)
                if result.bind_failed:
                    unbound[choice.source.address] = self._suspend(choice.source, result, parcel)
                    continue
                outcomes = self._outcomes(route, choice.source, result)
                self._record(route, choice, named_by, result, outcomes, parcel)
                if not result.failed_at_connect or number == len(targets) - 1 or self._clock.monotonic() >= until:
                    return outcomes
                break
        return outcomes if outcomes is not None else self._all(parcel, self._no_source(missed))

    def _choose(self, candidates: Sequence[Source], target: Target, unbound: Mapping[str, float]) -> Choice:
        """Give the source for this target; none configured means that the system chooses."""
        if not candidates:
            return Choice(Source("", ""), (Look("", "", "the system's choice"),))
        suspended = {**self._sources.suspended, **unbound}
        return choose_source(candidates, suspended, family_of(target.address), self._clock.time())

    def _no_source(self, missed: Sequence[Choice]) -> Outcome:
        """No target could be reached from any source: it waits until one is back."""
        backs = [choice.again_at for choice in missed if choice.again_at is not None]
        wait_s = self._settings.wait_s
        if backs:
            wait_s = max(min(backs) - self._clock.time(), 1.0)
        return waiting(f"no source can be used: {missed[-1].reason if missed else 'no candidate'}", wait_s)

    async def _send(self, route: Route, parcel: Parcel, until: float) -> TransactionResult:
        params = parcel.sender_params, parcel.recipient_params
        limit_s = until - self._clock.monotonic()
        return await self._client.send(route, parcel.sender, parcel.recipients, parcel.content, *params, limit_s)

    def _suspend(self, source: Source, result: TransactionResult, parcel: Parcel) -> float:
        """Leave the source out for a while, by all attempts; give until when."""
        suspension_s = self._settings.source_suspension_s
        self._sources.suspend(source.address, suspension_s, result.error or "it cannot be bound")
        fields = {"source": source.id, "address": source.address, "error": result.error, "seconds": suspension_s}
        self._log("delivery.source_suspended", {"level": "warning", **_ids_of(parcel, 0), **fields})
        return self._clock.time() + max(suspension_s, 1.0)

    def _candidates(self, options: TryOptions, transport: Transport, key: int) -> tuple[tuple[Source, ...], str]:
        """Give the sources in the order to try them, and who named them: the script, else the transport, else the server."""
        if options.sources:
            named = list(self._sources.resolve(options.sources))
            if options.source_random:
                self._random.shuffle(named)
            return tuple(named), "script"
        ids = transport.sources or self._settings.sources
        named_by = "transport" if transport.sources else "delivery.sources" if ids else "system"
        return rotated(self._sources.by_ids(ids), key), named_by

    def _rules(self, options: TryOptions, transport: Transport, candidates: Sequence[Source]) -> TargetRules:
        settings = self._settings
        private = transport.allow_private_targets
        return TargetRules(
            families=tuple(sorted({source.family for source in candidates})) or (4, 6),
            allow_private=settings.allow_private_targets if private is None else private,
            own_listeners=self.own_listeners,
            limit=settings.target_addresses,
            include=options.mx_include,
            exclude=options.mx_exclude,
        )

    def _route(self, target: Target, source: Source, options: TryOptions, transport: Transport) -> Route:
        timeouts = transport.timeouts
        if options.connect_timeout_s is not None:
            timeouts = replace(timeouts, connect_s=options.connect_timeout_s)
        if options.timeout_s is not None:
            step = options.timeout_s
            timeouts = replace(timeouts, greeting_s=step, command_s=step, data_s=step, block_s=step, final_s=step)
        if options.state_timeouts:
            timeouts = _by_state(timeouts, options.state_timeouts)
        return Route(
            host=target.host,
            address=target.address,
            port=target.port,
            source_ip=source.address or None,
            helo=options.helo or source.helo or transport.helo or self._settings.helo,
            protocol=options.protocol or transport.protocol,
            tls=options.tls or transport.tls,
            tls_sni=options.tls_sni,
            tls_names=options.tls_verify_name or transport.tls_names,
            tls_verify_host=options.tls_verify_host is not False,
            tls_wanted=TlsWanted(
                default_ca=options.tls_default_ca,
                protocols=options.tls_protocols,
                ciphers=options.tls_ciphers,
                client_cert=options.tls_client_cert,
            ),
            sasl_username=options.sasl_username if options.sasl_username is not None else transport.username,
            sasl_password=options.sasl_password if options.sasl_username is not None else transport.password,
            xclient=tuple(sorted((options.xclient or {}).items())),
            timeouts=timeouts,
        )

    def _outcomes(self, route: Route, source: Source, result: TransactionResult) -> tuple[Outcome, ...]:
        base = _facts(route, source, result)
        # RFC 3461 section 5.2.3: who offers no DSN says nothing of success; over LMTP success is delivery
        success: Success = "" if result.dsn else "delivered" if route.protocol == "lmtp" else "relayed"
        return tuple(_outcome(base, said, result, success) for said in result.results)

    def _record(
        self,
        route: Route,
        choice: Choice,
        named_by: str,
        result: TransactionResult,
        outcomes: tuple[Outcome, ...],
        parcel: Parcel,
    ) -> None:
        replies = [(said.reply, said.state) if said is not None else None for said in result.results]
        self._tally.attempted(result.local_ip or route.source_ip or "", route.host, replies, result.error_state)
        fields: dict[str, Any] = {
            "source": choice.source.id if choice.source else "",
            "named_by": named_by,
            "local_ip": result.local_ip,
            "helo": route.helo,
            "host": route.host,
            "remote_ip": route.address,
            "port": route.port,
            "tls": result.tls.protocol if result.tls else "",
            "reused": result.reused,
            "duration_s": round(result.duration_s, 3),
            "looked_at": choice.reason,
            "by": parcel.by,
        }
        for number in range(len(outcomes)):
            ids = _ids_of(parcel, number)
            self._log("delivery.attempt", {**ids, **fields, "result": outcomes[number].text})

    def _all(self, parcel: Parcel, outcome: Outcome) -> tuple[Outcome, ...]:
        return (outcome,) * len(parcel.recipients)


def _by_state(timeouts: Timeouts, wanted: Mapping[str, float]) -> Timeouts:
    """Give the timeouts with those that a script gave by the dialogue's states."""
    return replace(timeouts, by_state=tuple(wanted.items()), block_s=wanted.get("EOD", timeouts.block_s))


def destination(options: TryOptions, transport: Transport, domain: str) -> tuple[str, bool, int]:
    """Give the name, whether it is a domain whose MX is to be asked for, and the port.

    The script's host wins over the transport's next hop, which wins over the recipient domain's MX.
    """
    port = options.port or transport.port
    host = options.host or transport.next_hop
    if not host or host == LOOKUP_MX:
        return domain, True, options.port or (transport.port if not transport.next_hop else 25)
    return host, False, port


def _facts(route: Route, source: Source, result: TransactionResult) -> AttemptFacts:
    tls = result.tls
    return AttemptFacts(
        duration_s=result.duration_s,
        local_ip=result.local_ip or route.source_ip or "",
        helo=route.helo,
        source_id=source.id,
        remote_ip=route.address,
        remote_port=route.port,
        remote_mx=route.host,
        tls=TlsFacts(tls.protocol, tls.cipher, tls.key_bits) if tls is not None else None,
    )


def _outcome(base: AttemptFacts, said: RecipientResult | None, result: TransactionResult, success: Success) -> Outcome:
    if said is None:
        error = result.error or "nothing was said"
        facts = replace(base, error=error, error_temporary=result.error_temporary, state=result.error_state)
        return outcome_of_error(result, facts)
    reply = said.reply
    return outcome_of_reply(
        said, replace(base, code=reply.code, enhanced=reply.enhanced, reason=reply.lines, state=said.state), success
    )


def _ids_of(parcel: Parcel, number: int) -> dict[str, object]:
    ids = dict(parcel.ids)
    queue_ids = ids.get("queue_id")
    if isinstance(queue_ids, tuple):
        ids["queue_id"] = queue_ids[number]
    return {**ids, "recipient": str(parcel.recipients[number])}
