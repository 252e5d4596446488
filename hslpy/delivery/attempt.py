"""One attempt: recipients of a message that share all decisions, at the hosts of one destination. Out: an `Outcome` each.

Chooses target after target, a source for each, and hands both to the client. Must not know of hooks or the queue.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hslpy.client.contract import Client, RecipientResult, Route, Timeouts, TlsWanted, TransactionResult
from hslpy.clock import Clock
from hslpy.delivery.leaving import NODES_OWN, Departure, FromNamed, FromSettings, Leaving, Origin
from hslpy.delivery.outcome import (
    Outcome,
    Success,
    outcome_of_error,
    outcome_of_problem,
    outcome_of_reply,
    waiting,
)
from hslpy.delivery.plan import OwnListeners, Target, TargetRules
from hslpy.delivery.settings import DeliverySettings, Transport
from hslpy.delivery.targets import find_targets
from hslpy.dns.contract import Resolver
from hslpy.egress.rules.receivers import refuses
from hslpy.egress.rules.sources import Sources, UnknownSource, rotated
from hslpy.egress.store.tally import Tally, is_message
from hslpy.egress.traffic.departures import Departures
from hslpy.hooks.facts import AttemptFacts, TlsFacts
from hslpy.log import Log
from hslpy.mail.address import Address
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import TryOptions
from hslpy.records import dataclass

LOOKUP_MX = "lookup-mx"  # the host that asks for MX delivery whatever the transport says; the HSL manual, Try

_UNKNOWN_S = 5.0  # how long mail waits before it is looked again whether the delivery IPs are known
LOOKUP_SHARE = 0.5  # of an attempt's time that DNS may take: hosts found by then can still be tried


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be sent: one envelope, its content, and `key`, which spreads messages over configured sources.

    `origin` is what the choice of delivery IPs goes by, `by` the line of the script that said how, for the log.
    """

    sender: Address
    recipients: tuple[Address, ...]
    content: bytes
    sender_params: Mapping[str, str]
    recipient_params: tuple[Mapping[str, str], ...]
    key: int
    ids: Mapping[str, object]
    by: str = ""
    origin: Origin = NODES_OWN


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
        departures: Departures | None = None,
    ) -> None:
        """`departures` are by the settings of delivery IPs; where None there are no such settings. `tally` counts."""
        self._settings = settings
        self._departures = departures
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
            leaving = self._leaving(parcel, options, transport)
        except UnknownSource as error:
            self._log("delivery.source_unknown", {"level": "error", **parcel.ids, "error": error.message})
            return self._all(parcel, waiting(error.message, self._settings.wait_s))
        if leaving is None:
            return self._all(parcel, waiting("the delivery IPs are not known yet", min(_UNKNOWN_S, self._settings.wait_s)))
        host, use_mx, port = destination(options, transport, parcel.recipients[0].domain)
        rules = self._rules(options, transport, leaving)
        prefer = self._settings.prefer_family
        until = self._clock.monotonic() + self._settings.attempt_s
        limit_s = self._settings.attempt_s * LOOKUP_SHARE
        plan = await find_targets(
            self._resolver, host, port, rules, self._random, use_mx=use_mx, prefer=prefer, limit_s=limit_s
        )
        if plan.has_ipv6 is not None:
            self._tally.received(parcel.recipients[0].domain, plan.has_ipv6)
        if plan.problem is not None:
            if plan.skipped:
                self._log("delivery.no_target", {**parcel.ids, "skipped": list(plan.skipped)})
            return self._all(parcel, outcome_of_problem(plan.problem))
        return await self._over(plan.targets, parcel, options, transport, leaving, until)

    async def _over(
        self,
        targets: Sequence[Target],
        parcel: Parcel,
        options: TryOptions,
        transport: Transport,
        leaving: Leaving,
        until: float,
    ) -> tuple[Outcome, ...]:
        """Try target after target until one has taken the message or said no to it, or the time is up."""
        outcomes: tuple[Outcome, ...] | None = None
        missed: list[Departure] = []
        for number, target in enumerate(targets):
            while True:
                departure = await leaving.choose(target)
                if departure.source is None:
                    missed.append(departure)
                    break
                route = self._route(target, departure, options, transport)
                result = await self._send(route, departure, parcel, until)
                if result.bind_failed:
                    leaving.cannot_bind(departure, result, _ids_of(parcel, 0))
                    continue
                outcomes = self._outcomes(route, departure, result)
                self._record(route, departure, leaving, result, outcomes, parcel)
                if not result.failed_at_connect or number == len(targets) - 1 or self._clock.monotonic() >= until:
                    return outcomes
                break
        return outcomes if outcomes is not None else self._all(parcel, leaving.nowhere(missed))

    async def _send(self, route: Route, departure: Departure, parcel: Parcel, until: float) -> TransactionResult:
        params = parcel.sender_params, parcel.recipient_params
        limit_s = until - self._clock.monotonic()
        result: TransactionResult | None = None
        try:
            result = await self._client.send(route, parcel.sender, parcel.recipients, parcel.content, *params, limit_s)
            return result
        finally:
            if self._departures is not None and departure.reserved:
                self._departures.allowances.settle(departure.reserved, route.host, reached=_reached(result))

    def _leaving(self, parcel: Parcel, options: TryOptions, transport: Transport) -> Leaving | None:
        """Give who says where it leaves from: the script, else the transport, the server's settings, the delivery IPs.

        None while the last are to say and not known. Raises UnknownSource.
        """
        settings = self._settings
        ids = transport.sources or settings.sources
        if not options.sources and not ids and self._departures is not None:
            if self._departures.picture is None:
                return None
            return FromSettings(self._departures, parcel.origin, self._clock, settings.wait_s, self._tally.wanted)
        if options.sources:
            named, by = list(self._sources.resolve(options.sources)), "script"
            if options.source_random:
                self._random.shuffle(named)
        else:
            named = list(rotated(self._sources.by_ids(ids), parcel.key))
            by = "transport" if transport.sources else "delivery.sources" if ids else "system"
        wait_s, suspension_s = settings.wait_s, settings.source_suspension_s
        return FromNamed(named, by, self._sources, self._clock, self._log, suspension_s, wait_s)

    def _rules(self, options: TryOptions, transport: Transport, leaving: Leaving) -> TargetRules:
        settings = self._settings
        private = transport.allow_private_targets
        return TargetRules(
            families=leaving.families,
            closed=leaving.closed,
            allow_private=settings.allow_private_targets if private is None else private,
            own_listeners=self.own_listeners,
            limit=settings.target_addresses,
            include=options.mx_include,
            exclude=options.mx_exclude,
        )

    def _route(self, target: Target, departure: Departure, options: TryOptions, transport: Transport) -> Route:
        source = departure.source
        assert source is not None
        own = transport.helo or self._settings.helo
        known = self._departures.helo if self._departures is not None else _no_name
        helo = options.helo or source.helo or ("" if departure.chosen else transport.helo)
        helo = helo or (known(source.address) if source.address else "")
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
            helo=helo or own,
            helo_of=None if helo or source.address else known,
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

    def _outcomes(self, route: Route, departure: Departure, result: TransactionResult) -> tuple[Outcome, ...]:
        base = _facts(route, departure, result)
        # RFC 3461 section 5.2.3: who offers no DSN says nothing of success; over LMTP success is delivery
        success: Success = "" if result.dsn else "delivered" if route.protocol == "lmtp" else "relayed"
        outcomes = (_outcome(base, said, result, success) for said in result.results)
        return tuple([_with_departure(each, departure, result) for each in outcomes] if departure.chosen else outcomes)

    def _record(
        self,
        route: Route,
        departure: Departure,
        leaving: Leaving,
        result: TransactionResult,
        outcomes: tuple[Outcome, ...],
        parcel: Parcel,
    ) -> None:
        address = result.local_ip or route.source_ip or ""
        standing = self._tally.attempted(address, route.host, _said(result), result.error_state)
        if standing == "blocked" and self._departures is not None:
            self._departures.allowances.blocked(address, outcomes[0].text)
        fields: dict[str, Any] = {
            "source": departure.source.id if departure.source else "",
            "named_by": leaving.named_by,
            "local_ip": result.local_ip,
            "helo": result.helo or route.helo,
            "host": route.host,
            "remote_ip": route.address,
            "port": route.port,
            "tls": result.tls.protocol if result.tls else "",
            "reused": result.reused,
            "duration_s": round(result.duration_s, 3),
            "looked_at": departure.looked_at,
            **departure.about,
            "by": parcel.by,
        }
        if result.no_route and departure.source is not None and departure.source.address:
            fields_of = {"level": "warning", **_ids_of(parcel, 0), "address": departure.source.address}
            self._log("delivery.no_route", {**fields_of, "remote_ip": route.address, "error": result.error})
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


def _facts(route: Route, departure: Departure, result: TransactionResult) -> AttemptFacts:
    tls = result.tls
    return AttemptFacts(
        duration_s=result.duration_s,
        local_ip=result.local_ip or route.source_ip or "",
        helo=result.helo or route.helo,
        source_id=departure.source.id if departure.source is not None else "",
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


def _with_departure(outcome: Outcome, departure: Departure, result: TransactionResult) -> Outcome:
    """Give the outcome with what the message's next attempt has to know of this one's address.

    One that a receiver refuses, or from which no way leads to it, is to be avoided.
    """
    address = departure.source.address if departure.source is not None else ""
    reply = outcome.reply
    refused = reply is not None and refuses(reply.code, str(reply), result.local_ip)
    return replace(outcome, left_from=address, avoid=address if refused or result.no_route else "", why=departure.looked_at)


def _reached(result: TransactionResult | None) -> bool:
    """Say whether the host took a recipient, so that it counts as a message to it."""
    return result is not None and is_message(_said(result), result.error_state)


def _said(result: TransactionResult) -> Sequence[tuple[Reply, str] | None]:
    return [(said.reply, said.state) if said is not None else None for said in result.results]


def _no_name(address: str) -> str:
    return ""


def _ids_of(parcel: Parcel, number: int) -> dict[str, object]:
    ids = dict(parcel.ids)
    queue_ids = ids.get("queue_id")
    if isinstance(queue_ids, tuple):
        ids["queue_id"] = queue_ids[number]
    return {**ids, "recipient": str(parcel.recipients[number])}
