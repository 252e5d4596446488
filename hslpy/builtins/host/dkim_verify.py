"""DKIM verification: `verifyDKIM` of messages, DKIMVerify(), DKIMSDID(), DKIMADSP(). In: fields, options. Out: results.

A signature is checked against the message as it was received. Source: the HSL manual, 2015 to 2019; RFC 5617.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from hslpy.builtins.host.mailtext import header_addresses
from hslpy.builtins.host.mimepart import held
from hslpy.builtins.host.options import NUMBER, read_integer, read_options, read_seconds, text_list
from hslpy.builtins.host.state import DataState
from hslpy.dns.contract import NameNotFound, RecordType, ResolutionFailed, Resolver
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Value, type_name
from hslpy.mail.address import ascii_domain, ascii_lower
from hslpy.mail.dkim import tag_list
from hslpy.mail.dkim_check import BadSignature, Claim, check, read_claim
from hslpy.mail.message import Message
from hslpy.records import dataclass

TOPIC = Topic("DKIM verification")

SCRIPT_HOOKS = ("data", "eod")
_FUNCTION = ("function",)
_OPTIONS = {"timeout": NUMBER, "dns_function": _FUNCTION}
_TIMEOUT_S = 5.0  # of one query: the manual's default
_SIGNATURES = 5  # the same
_MOST_SIGNATURES = 50
_MOST_AUTHORS = 10  # domains in From whose policies are asked for
_OFFLOAD_BYTES = 1 << 18
_LONG_FIELD_BYTES = 1 << 15
_PASSING_ERRORS = ("temperror", "SERVFAIL", "TRY_AGAIN")
_BEST_FIRST = ("pass", "temperror", "fail", "permerror", "skip")
_ADSP = {"unknown": "unknown", "all": "fail", "discardable": "discard"}


@dataclass(frozen=True, slots=True)
class Keys:
    """Where keys are looked up: with `ask`, a script's function, else in DNS."""

    timeout_s: float = _TIMEOUT_S
    ask: Value = None

    @classmethod
    def of(cls, function: str, given: dict[str, Value]) -> Keys:
        timeout_s = read_seconds(function, "timeout", given.get("timeout", _TIMEOUT_S), least=0.001)
        return cls(timeout_s, given.get("dns_function"))

    def records(self, call: Run, function: str, name: str) -> Sequence[str]:
        """Give the records of that name. Raises BadSignature when there is none."""
        if self.ask is None:
            try:
                return query(call, name, "TXT", self.timeout_s)
            except NameNotFound:
                raise BadSignature(f"no key at {name}") from None
            except ResolutionFailed as error:
                raise BadSignature(f"no answer for {name}: {error.kind}", "temperror") from None
        found = call.invoke(self.ask, name)
        if found.__class__ is not Array:
            raise ScriptError("R302", f"`dns_function` of {function}() must give an array, got {type_name(found)}")
        result = found.items.get("result")
        if result.__class__ is str:
            return (result,)
        if result.__class__ is Array and result.items:  # as dns_query() gives them
            return text_list(f"`dns_function` of {function}()", result)
        passing = found.items.get("error") in _PASSING_ERRORS
        raise BadSignature(f"no key at {name}", "temperror" if passing else "permerror")


def query(call: Run, name: str, record_type: RecordType, timeout_s: float = _TIMEOUT_S) -> Sequence[str]:
    """Ask DNS. Raises NameNotFound or ResolutionFailed."""
    resolver: Resolver = call.host.services.resolver

    async def ask() -> Sequence[str]:
        try:
            return (await asyncio.wait_for(resolver.query(name, record_type), timeout_s)).records
        except TimeoutError:
            raise ResolutionFailed(f"no answer for {record_type} {name} in {timeout_s:g} s", "TRY_AGAIN") from None

    found: Sequence[str] = call.wait(ask())
    return found


def verify(call: Run, function: str, message: Message, claim: Claim, keys: Keys) -> None:
    """Check one signature of the message. Raises BadSignature."""
    try:
        records = keys.records(call, function, claim.key_name)
    except BadSignature as error:
        error.tags = claim.tags
        raise
    size = len(message.content) + 8 * len(claim.field)
    call.charge(300 + (len(message.header) >> 6))
    now = call.clock.time()
    if (claim.body_relaxed, claim.length) in message.digests or size <= _OFFLOAD_BYTES:
        call.charge(size >> 8)
        check(claim, records, message, now)
        return
    call.reserve(2 * size)
    call.offload(check, claim, records, message, now)


def _verified(call: Run, function: str, message: Message, field: str, options: Array | None) -> Array:
    keys = Keys.of(function, read_options(function, options, _OPTIONS))
    call.charge(10 + (len(field) >> 5))
    result: dict[str, Value] = {}
    try:
        claim: Claim = call.offload(read_claim, field) if len(field) > _LONG_FIELD_BYTES else read_claim(field)
        tags = claim.tags
        verify(call, function, message, claim, keys)
        result["result"] = "pass"
    except BadSignature as error:
        tags = error.tags or {}
        result["result"] = "temperror" if error.kind == "temperror" else "permerror"
        result["error"] = error.reason
    if tags:
        result["tags"] = Array.mapping(dict(sorted(tags.items())))
    return Array.mapping(result)


@TOPIC.builtin(
    "verifyDKIM(headerfield: string, [options: array]) -> array",
    effect=Effect.IO,
    kind="method",
    owner="MailMessage",
    examples=[
        'MailMessage::String("Subject: x")->verifyDKIM("DKIM-Signature: v=1")["result"]  // "permerror"',
        '$mail = $arguments["mail"]; $mail->verifyDKIM($mail->getHeader("DKIM-Signature", ["field" => true]) ?? "");',
    ],
)
def verify_dkim(call: Run, this: HslObject, headerfield: str, options: Array | None = None) -> Array:
    """Check a signature, a whole field DKIM-Signature or ARC-Message-Signature: ["result", "error", "tags"].

    The result is "pass", "permerror" (it is bad) or "temperror" (the key could not be had now). "error" says why it is no
    pass; "tags" are the field's, where it could be read. Options: "timeout" in seconds of a DNS query (5), and
    "dns_function", called with the name of the key's record: it gives an array with the record as "result", or with
    "error" as "permerror" or "temperror". rsa-sha1 and keys below 1024 bits are no longer valid (RFC 8301).
    """
    return _verified(call, "verifyDKIM", held(this).message.message, headerfield, options)


@TOPIC.builtin(
    "DKIMVerify(headerfield: string, [options: array]) -> array",
    effect=Effect.IO,
    hooks=SCRIPT_HOOKS,
    examples=['DKIMVerify(MIME("0")->getHeader("DKIM-Signature", ["field" => true]) ?? "")["result"] == "pass"'],
    deprecated="use MailMessage->verifyDKIM()",
)
def dkim_verify(call: Run, headerfield: str, options: Array | None = None) -> Array:
    """Check a signature of the message at hand as MailMessage->verifyDKIM() does."""
    return _verified(call, "DKIMVerify", call.host.state.message, headerfield, options)


def signature_result(call: Run, function: str, message: Message, field: str, keys: Keys) -> str:
    """Give pass, fail, permerror or temperror of a whole field."""
    try:
        verify(call, function, message, read_claim(field), keys)
    except BadSignature as error:
        return error.kind
    return "pass"


def signing_domains(message: Message) -> Iterable[tuple[str, str]]:
    """Give each signature's domain, in lower case, and field."""
    for field in message.named("DKIM-Signature"):
        domain = (tag_list(field.raw.partition(":")[2]) or {}).get("d", "").lower()
        if domain:
            yield domain, field.raw.rstrip("\r\n")


@TOPIC.builtin(
    "DKIMSDID([explicitdomains: array], [options: array]) -> array",
    effect=Effect.IO,
    hooks=SCRIPT_HOOKS,
    examples=['(DKIMSDID()["example.com"] ?? "none") == "pass"', 'DKIMSDID(["example.com"], ["signature_limit" => 10])'],
    deprecated="use MailMessage->verifyDKIM()",
)
def dkim_sdid(call: Run, explicitdomains: Array | None = None, options: Array | None = None) -> Array:
    """Give the domains that signed the message, each with the best result of its signatures.

    The results: "pass", "fail" (the message was changed), "temperror", "permerror", and "skip" for what was not checked:
    domains that are not among `explicitdomains`, where there are any, and signatures beyond "signature_limit" (5). The
    other options are those of MailMessage->verifyDKIM().
    """
    given = read_options("DKIMSDID", options, {**_OPTIONS, "signature_limit": NUMBER})
    limit = read_integer("DKIMSDID", "signature_limit", given.get("signature_limit", _SIGNATURES), 0, _MOST_SIGNATURES)
    wanted = {one.lower() for one in text_list("DKIMSDID()", explicitdomains)} if explicitdomains else None
    keys = Keys.of("DKIMSDID", given)
    message: Message = call.host.state.message
    results: dict[str, str] = {}
    for domain, field in signing_domains(message):
        result = "skip"
        if limit > 0 and (wanted is None or domain in wanted):
            limit -= 1
            result = signature_result(call, "DKIMSDID", message, field, keys)
        call.charge(5)
        results[domain] = min(results.get(domain, "skip"), result, key=_BEST_FIRST.index)
    return Array.mapping(dict(results))


def author_domains(call: Run, message: Message) -> list[str] | None:
    """Give the domains of the addresses in From as DNS has them, None when it is missing, there twice or malformed."""
    fields = message.named("From")
    pairs = header_addresses(call, fields[0].value(decode=False)) if len(fields) == 1 else None
    if not pairs:
        return None
    domains = [ascii_domain(ascii_lower(address.rpartition("@")[2])) for _, address in pairs]
    return domains if all(domain and domain.isascii() for domain in domains) else None


@TOPIC.builtin(
    "DKIMADSP() -> array",
    effect=Effect.IO,
    hooks=SCRIPT_HOOKS,
    examples=['in_array("discard", DKIMADSP())'],
    deprecated="ADSP is historic since 2013, and left the original in 2018; see ScanDMARC()",
)
def dkim_adsp(call: Run) -> Array:
    """Give the domains of the addresses in From, each with what it says of mail that it did not sign (RFC 5617).

    "pass" where a signature of the domain is good; else "unknown", "fail" ("all" is signed), "discard" ("discardable"),
    "none" for no such record, "nxdomain" for no such domain, "temperror" or "permerror".
    """
    state: DataState = call.host.state
    keys = Keys()
    results: dict[str, Value] = {}
    for domain in dict.fromkeys(author_domains(call, state.message) or []):
        if len(results) < _MOST_AUTHORS:
            results[domain] = _adsp(call, state.message, domain, keys)
    return Array.mapping(results)


def _adsp(call: Run, message: Message, domain: str, keys: Keys) -> str:
    fields = [field for signer, field in signing_domains(message) if signer == domain]
    if any(signature_result(call, "DKIMADSP", message, field, keys) == "pass" for field in fields[:_SIGNATURES]):
        return "pass"
    try:
        query(call, domain, "MX")
    except NameNotFound as error:
        if error.kind == "NXDOMAIN":
            return "nxdomain"
    except ResolutionFailed:
        return "temperror"
    try:
        records = query(call, f"_adsp._domainkey.{domain}", "TXT")
    except NameNotFound:
        return "none"
    except ResolutionFailed:
        return "temperror"
    if len(records) != 1:
        return "permerror"
    tags = tag_list(records[0]) or {}
    if next(iter(tags), "") != "dkim":
        return "none"
    return _ADSP.get(tags["dkim"].lower(), "unknown")
