"""DNS as scripts ask it: queries of both generations, block lists, SPF. In: names and options. Out: lists, or arrays.

Asking is `dns/`'s. Source: the HSL manual, 2018 (classic family) and 2019 (dns_query).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any, get_args

from hslpy.builtins.core.arguments import unknown_word
from hslpy.builtins.host.options import ARRAY, BOOLEAN, NUMBER, TEXT, read_options, read_seconds, text_list
from hslpy.dns.contract import Answer, NameNotFound, RecordType, ResolutionFailed, Resolver
from hslpy.dns.spf import LIFETIME_S, SpfResult, check_host
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value

TOPIC = Topic("DNS")

_TYPES = {name.lower(): name for name in get_args(RecordType)}
_OPTIONS = {"timeout": NUMBER, "servers": ARRAY}
_CLASSIC_OPTIONS = {**_OPTIONS, "extended_result": BOOLEAN}
_MOST_SERVERS = 8  # more would only be asked after the time is up
_SCORES = {"pass": 0.0, "softfail": 20.0, "fail": 100.0}  # all else is 50, unknown


class _Question:
    """Where one builtin asks, and how long: the options `servers` and `timeout`."""

    def __init__(self, call: Run, function: str, given: dict[str, Value]) -> None:
        self.call = call
        self.resolver: Resolver = call.host.services.resolver
        self.servers = _servers(function, given["servers"]) if "servers" in given else ()
        self.timeout_s: float | None = None
        if "timeout" in given:
            self.timeout_s = read_seconds(function, "timeout", given["timeout"], least=0.001)

    async def one(self, name: str, record_type: RecordType) -> Answer | NameNotFound | ResolutionFailed:
        """Give the answer, or the failure as a value."""
        try:
            if self.servers:
                asked = self.resolver.query(name, record_type, self.servers)
            else:
                asked = self.resolver.query(name, record_type)
            return await (asked if self.timeout_s is None else asyncio.wait_for(asked, self.timeout_s))
        except (NameNotFound, ResolutionFailed) as error:
            return error
        except TimeoutError:
            return ResolutionFailed(f"no answer for {record_type} {name} in {self.timeout_s:g} s", "TRY_AGAIN")

    def ask(self, name: str, *record_types: RecordType) -> Sequence[Answer | NameNotFound | ResolutionFailed]:
        """Ask for all these types at once."""

        async def all_types() -> list[Any]:
            return await asyncio.gather(*(self.one(name, record_type) for record_type in record_types))

        found: list[Any] = self.call.wait(all_types())
        return found


def _servers(function: str, given: Array) -> tuple[str, ...]:
    servers = text_list(f"option `servers` of {function}()", given)
    if len(servers) > _MOST_SERVERS:
        raise ScriptError("R302", f"{function}() takes at most {_MOST_SERVERS} servers, got {len(servers)}")
    for server in servers:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise ScriptError("R302", f'{function}() wants IP addresses as `servers`, got "{server[:100]}"') from None
    return servers


def _records(answer: Answer, joint: str = "") -> list[str]:
    """Give the records: MX names by preference, the strings of a TXT record joined by `joint`."""
    if answer.mx:
        return [exchange for _, exchange in sorted(answer.mx, key=lambda pair: pair[0])]
    if joint and answer.strings:
        return [joint.join(parts) for parts in answer.strings]
    return list(answer.records)


def _extended(found: Sequence[Answer | NameNotFound | ResolutionFailed], joint: str = "") -> Array:
    """Give ["result", "dnssec"] of all answers, or ["error", "dnssec"] when there is none."""
    answers = [one for one in found if isinstance(one, Answer)]
    if answers:
        records = [record for answer in answers for record in _records(answer, joint)]
        return Array.mapping({"result": Array.of(records), "dnssec": all(answer.secure for answer in answers)})
    failures = [one for one in found if not isinstance(one, Answer)]
    passing = [one.kind for one in failures if isinstance(one, ResolutionFailed)]
    return Array.mapping({"error": passing[0] if passing else failures[0].kind, "dnssec": False})


@TOPIC.builtin(
    "dns_query(host: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=[
        '$found = dns_query("example.com", ["type" => "mx"])["result"] ?? [];',
        'dns_query(inet_reverse("192.0.2.1"), ["type" => "ptr"])',
    ],
)
def dns_query(call: Run, host: str, options: Array | None = None) -> Array:
    """Ask DNS: ["result" => list, "dnssec" => boolean], or "error" instead of the result.

    Errors: NXDOMAIN (no such name), NO_DATA (no such record), SERVFAIL, TRY_AGAIN (no answer in time). "type" ("a") is
    a, aaaa, mx, txt, cname, ns, ptr, soa, srv, tlsa, caa, ds, dnskey, https, naptr, smimea, sshfp, svcb or uri; MX are
    names by preference, TXT whole texts, types without a simple value the text of a zone file. "timeout" (seconds) and
    "servers" (IP addresses) replace those of the settings. "dnssec" is true where a trusted resolver has validated.
    """
    given = read_options("dns_query", options, {**_CLASSIC_OPTIONS, "type": TEXT})
    wanted = given.get("type", "a").lower()
    if wanted not in _TYPES:
        raise unknown_word("dns_query", "type", wanted, _TYPES)
    return _extended(_Question(call, "dns_query", given).ask(host, _TYPES[wanted]))


def _classic(call: Run, function: str, name: str, options: Array | None, *types: RecordType, joint: str = "") -> Array:
    given = read_options(function, options, _CLASSIC_OPTIONS)
    result = _extended(_Question(call, function, given).ask(name, *types), joint)
    if given.get("extended_result"):
        return result
    plain: Array = result.items.get("result", None) or Array({}, 0)
    return plain


@TOPIC.builtin(
    "dns(name: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dns("mail.example.com")'],
    deprecated="use dns_query()",
)
def dns(call: Run, name: str, options: Array | None = None) -> Array:
    """Give the IPv4 and IPv6 addresses of a name.

    An empty list when there is none. Options: "timeout" (seconds), "servers" (IP addresses), and "extended_result" for
    ["result", "dnssec"] or ["error", "dnssec"], as dns_query() gives.
    """
    return _classic(call, "dns", name, options, "A", "AAAA")


@TOPIC.builtin(
    "dns4(name: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dns4("mail.example.com")'],
    deprecated="use dns_query()",
)
def dns4(call: Run, name: str, options: Array | None = None) -> Array:
    """Give the IPv4 addresses of a name; options as of dns()."""
    return _classic(call, "dns4", name, options, "A")


@TOPIC.builtin(
    "dns6(name: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dns6("mail.example.com")'],
    deprecated="use dns_query()",
)
def dns6(call: Run, name: str, options: Array | None = None) -> Array:
    """Give the IPv6 addresses of a name; options as of dns()."""
    return _classic(call, "dns6", name, options, "AAAA")


@TOPIC.builtin(
    "dnscname(name: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dnscname("www.example.com")'],
    deprecated="use dns_query()",
)
def dnscname(call: Run, name: str, options: Array | None = None) -> Array:
    """Give the name that a name is an alias of; options as of dns()."""
    return _classic(call, "dnscname", name, options, "CNAME")


@TOPIC.builtin(
    "dnsmx(name: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dnsmx("example.com")'],
    deprecated="use dns_query()",
)
def dnsmx(call: Run, name: str, options: Array | None = None) -> Array:
    """Give the mail exchangers of a domain, the preferred first; options as of dns()."""
    return _classic(call, "dnsmx", name, options, "MX")


@TOPIC.builtin(
    "dnsns(name: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dnsns("example.com")'],
    deprecated="use dns_query()",
)
def dnsns(call: Run, name: str, options: Array | None = None) -> Array:
    """Give the name servers of a zone; options as of dns()."""
    return _classic(call, "dnsns", name, options, "NS")


@TOPIC.builtin(
    "dnsptr(address: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dnsptr("192.0.2.1")'],
    deprecated="use dns_query() with inet_reverse()",
)
def dnsptr(call: Run, address: str, options: Array | None = None) -> Array:
    """Give the names of an IP address; a name is asked for as it is. Options as of dns()."""
    return _classic(call, "dnsptr", _reversed(address) or address, options, "PTR")


@TOPIC.builtin(
    "dnstxt(name: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dnstxt("_dmarc.example.com")'],
    deprecated="use dns_query()",
)
def dnstxt(call: Run, name: str, options: Array | None = None) -> Array:
    """Give the texts of a name; the strings of one record are joined by a space. Options as of dns()."""
    return _classic(call, "dnstxt", name, options, "TXT", joint=" ")


def _reversed(address: str) -> str | None:
    try:
        return ipaddress.ip_address(address).reverse_pointer
    except ValueError:
        return None


@TOPIC.builtin(
    "dnsbl(ip: string, hostname: string, [resolvers: array, [timeout: number = 5]]) -> array",
    effect=Effect.IO,
    examples=['if (dnsbl("192.0.2.1", "zen.example.org")) echo "listed";'],
    deprecated="use dns_query() with inet_reverse()",
)
def dnsbl(call: Run, ip: str, hostname: str, resolvers: Array | None = None, timeout: float = 5.0) -> Array:
    """Give what a DNS block list answers for an address: a list of addresses, empty when it isn't listed.

    Also empty when the list doesn't answer within `timeout` seconds, and for what is no IP address.
    """
    given: dict[str, Value] = {"timeout": timeout}
    if resolvers:
        given["servers"] = resolvers
    question = _Question(call, "dnsbl", given)
    pointer = _reversed(ip)
    if pointer is None:
        return Array({}, 0)
    (found,) = question.ask(f"{pointer.rsplit('.', 2)[0]}.{hostname}", "A")
    return Array.of(found.records if isinstance(found, Answer) else ())


def _spf(call: Run, function: str, ip: str, helo: str, sender: str, given: dict[str, Value]) -> SpfResult:
    question = _Question(call, function, given)
    services = call.host.services
    result: SpfResult = call.wait(
        check_host(
            question.resolver,
            ip,
            helo,
            sender,
            receiver=services.hostname,
            now_s=call.clock.time(),
            lifetime_s=question.timeout_s or LIFETIME_S,
            servers=question.servers,
        )
    )
    return result


@TOPIC.builtin(
    "spf_query(ip: string, helo: string, sender: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['if (spf_query("192.0.2.1", "mail.example.com", "a@example.com")["result"] == "fail") echo "forged";'],
)
def spf_query(call: Run, ip: str, helo: str, sender: str, options: Array | None = None) -> Array:
    """Check SPF (RFC 7208) for a client: ["result", "reason"].

    The result is pass, fail, softfail, neutral, none, temperror, permerror, or invalid for what is no IP address. The
    reason is the term that decided, the domain's explanation of a fail, or what went wrong. `sender` is an address or a
    domain; with an empty one `helo` is checked. Options: "timeout" (20 seconds) and "servers" (IP addresses).
    """
    found = _spf(call, "spf_query", ip, helo, sender, read_options("spf_query", options, _OPTIONS))
    return Array.mapping({"result": found.result, "reason": found.reason})


@TOPIC.builtin(
    "spf(ip: string, helo: string, domain: string, [options: array]) -> number | array",
    effect=Effect.IO,
    examples=['spf("192.0.2.1", "mail.example.com", "example.com") == 100'],
    deprecated="use spf_query()",
)
def spf(call: Run, ip: str, helo: str, domain: str, options: Array | None = None) -> float | Array:
    """Check SPF for a domain: 0 for pass, 20 for softfail, 100 for fail, 50 for all else.

    With "extended_result" => true an array with the "result" as text, as spf_query() gives.
    """
    given = read_options("spf", options, _CLASSIC_OPTIONS)
    found = _spf(call, "spf", ip, helo, domain, given)
    if given.get("extended_result"):
        return Array.mapping({"result": found.result})
    return _SCORES.get(found.result, 50.0)
