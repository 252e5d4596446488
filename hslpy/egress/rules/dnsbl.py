"""What block lists are asked, and what their answers mean. In: addresses, zones, answers. Out: query names, findings.

Plain functions; no DNS, no store, no clock. Source: RFC 5782; sections E1 and E3 of the specification of delivery IPs.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from typing import Literal

from hslpy.egress.rules.book import Family
from hslpy.egress.rules.names import Refused, is_private
from hslpy.records import record

Status = Literal[
    "clean", "listed", "refused", "rewritten", "unknown", "no answer", "not usable", "not applicable", "private"
]
Severity = Literal["critical", "warning", "information", "none"]
Kind = Literal["address", "neighbourhood", "informational"]
KINDS: Sequence[Kind] = ("address", "neighbourhood", "informational")
COUNTING: Sequence[Severity] = ("critical", "warning")  # listings that somebody has to be told of
ListStatus = Literal["working", "no test entry", "refusing", "not answering", "lists everything", "retired", "not tested"]

WORDS: Mapping[Status, str] = {
    "clean": "Clean",
    "listed": "Listed",
    "refused": "Refused",
    "rewritten": "Unknown: the answer was rewritten",
    "unknown": "Unknown",
    "no answer": "No answer",
    "not usable": "List not usable",
    "not applicable": "Not applicable",
    "private": "Private address",
}
LIST_WORDS: Mapping[ListStatus, str] = {
    "working": "Working",
    "no test entry": "No test entry (unverified)",
    "refusing": "Refusing",
    "not answering": "Not answering",
    "lists everything": "Lists everything",
    "retired": "Retired",
    "not tested": "Not tested",
}

POSITIVE: Mapping[Family, str] = {4: "127.0.0.2", 6: "::ffff:7f00:2"}
NEGATIVE: Mapping[Family, str] = {4: "127.0.0.1", 6: "::ffff:7f00:1"}
"""The test entries, one that every list has and one that none has. Source: RFC 5782 section 5."""

KEY = "KEY"  # the label of a zone that stands for the operator's key
MASK = "********"
_TEST_ENTRIES = frozenset(ipaddress.IPv6Address(text) for text in (POSITIVE[6], NEGATIVE[6]))
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_REFUSALS = {
    252: "the zone's name is written wrong",
    254: "asked through a public or open resolver, or one with a generic name",
    255: "too many queries",
}  # of 127.255.255.0/24, as Spamhaus answers and others do after it
_LONGEST_REASON = 500
_HTTPS = re.compile(r"https://[^\s<>\"'`]+")
_CODE = re.compile(r"127\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}|\*)(?:-(\d{1,3}))?\Z")
POLICY = (
    "policy list: the network owner says this address should not send mail directly; request removal or set a static rDNS"
)


@record
class Code:
    """What a list means by a code. `severity` `none` is no listing, `refusal` no answer to the question.

    `matches` is an address, a range of its last part (`127.0.0.4-7`), or all of a last part (`127.0.0.*`).
    """

    matches: str
    meaning: str = ""
    severity: Severity | Literal["refusal"] | None = None  # None: as the list's kind has it


@record
class Meaning:
    """How to read a list's answers. Without `codes` every address of 127.0.0.0/8 is a listing, but what none may use."""

    kind: Kind = "address"
    codes: tuple[Code, ...] = ()
    loopback_is_listed: bool = False  # it has an entry for 127.0.0.1, which stands for something else
    critical: bool = False


@record
class Reply:
    """What DNS said to one question: `failure` is empty where there was an answer, which may be that there is none."""

    records: tuple[str, ...] = ()
    ttl_s: float = 0.0
    failure: str = ""


@record
class Finding:
    """One address on one list. `severity` is that of a listing, else `none`; `meanings` go with `codes`."""

    status: Status
    severity: Severity = "none"
    codes: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()
    detail: str = ""
    ttl_s: float = 0.0
    reasons: tuple[str, ...] = field(default=())
    resolver: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is a listing that somebody has to be told of."""
        return self.status == "listed" and self.severity in COUNTING

    @property
    def word(self) -> str:
        informational = self.status == "listed" and self.severity == "information"
        return "Listed (informational)" if informational else WORDS[self.status]


def query_name(address: str, zone: str) -> str:
    """Give the name to ask for an address: its parts or nibbles turned round, then the zone.

    An IPv4-mapped IPv6 address is asked as IPv4, but for the test entries of IPv6 lists. Source: RFC 5782 section 2.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None or ip in _TEST_ENTRIES:
            return ".".join(reversed(ip.exploded.replace(":", ""))) + f".{zone}"
        ip = ip.ipv4_mapped
    return ".".join(reversed(str(ip).split("."))) + f".{zone}"


def family_of(address: str) -> Family:
    """Give the family that an address is asked in."""
    ip = ipaddress.ip_address(address)
    return 6 if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None else 4


@lru_cache(4096)  # a table asks for each of its cells
def is_reserved(address: str) -> bool:
    """Say whether no list can know an address: a private one, or one that never is on the internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    reserved = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
    return reserved or (ip.version == 4 and ip.is_reserved) or is_private(str(ip))


def decode(reply: Reply, meaning: Meaning) -> Finding:
    """Give what a list's answer to the A question says of an address, if the list can be believed. Source: E1."""
    if reply.failure:
        return Finding("no answer", detail=reply.failure)
    if not reply.records:
        return Finding("clean", ttl_s=reply.ttl_s)
    codes = tuple(sorted(set(reply.records), key=ipaddress.IPv4Address))
    found = [_read(code, meaning) for code in codes]
    meanings = tuple(text for _, _, text in found)
    statuses = [status for status, _, _ in found]
    for worst in ("rewritten", "refused"):
        if worst in statuses:
            return Finding(worst, "none", codes, meanings, meanings[statuses.index(worst)], reply.ttl_s)
    listed = [severity for status, severity, _ in found if status == "listed"]
    if listed:
        return Finding("listed", min(listed, key=_ORDER.index), codes, meanings, "", reply.ttl_s)
    status: Status = "unknown" if "unknown" in statuses else "clean"
    return Finding(status, "none", codes, meanings, "; ".join(filter(None, meanings)), reply.ttl_s)


_ORDER: Sequence[Severity] = ("critical", "warning", "information", "none")


def _read(code: str, meaning: Meaning) -> tuple[Status, Severity, str]:
    ip = ipaddress.IPv4Address(code)
    if ip not in _LOOPBACK:
        return "rewritten", "none", f"{code} is no answer of a block list: something between rewrites answers"
    own = next((one for one in meaning.codes if _matches(one.matches, code)), None)
    if own is not None and own.severity == "refusal":
        return "refused", "none", own.meaning or "the list refuses to answer"
    if code.startswith("127.255.255."):
        return "refused", "none", _REFUSALS.get(int(code.rpartition(".")[2]), "the list refuses to answer")
    if own is not None:
        severity: Severity = own.severity or _severity(meaning)  # type: ignore[assignment]
        return ("clean" if severity == "none" else "listed"), severity, own.meaning
    if code == "127.0.0.1":
        return "unknown", "none", "127.0.0.1 is never a listing: a refusal, or something between answers"
    if meaning.codes:
        return "unknown", "none", f"{code} is no code of this list"
    return "listed", _severity(meaning), ""


def _severity(meaning: Meaning) -> Severity:
    if meaning.kind != "address":
        return "information"
    return "critical" if meaning.critical else "warning"


def _matches(pattern: str, code: str) -> bool:
    found = _CODE.match(pattern)
    start, _, last = code.rpartition(".")
    if found is None or start != ".".join(("127", *found.groups()[:2])):
        return False
    if found[3] == "*":
        return True
    return int(found[3]) <= int(last) <= int(found[4] or found[3])


def read_codes(text: str) -> tuple[Code, ...]:
    """Give the codes of a list with commas, blanks or `;` between, each perhaps with `=meaning`. Raises Refused."""
    codes: list[Code] = []
    for item in filter(None, (part.strip() for part in re.split(r"[,;\n]", text))):
        matches, _, meaning = (part.strip() for part in item.partition("="))
        if matches.startswith("."):
            matches = "127.0.0" + matches
        found = _CODE.match(matches)
        if found is None or any(int(part) > 255 for part in found.groups() if part and part != "*"):
            raise Refused(f"'{item}' is no return code: write 127.0.0.2, 127.0.0.4-7 or 127.0.0.*")
        codes.append(Code(matches, printable(meaning)[:100]))
    return tuple(codes)


def judge(positive: Reply, negative: Reply, meaning: Meaning) -> tuple[ListStatus, str]:
    """Give what a list's answers for its two test entries, of one family, say of it, and why.

    Any code is right for the entry that has to be there: some have one of their own. Source: RFC 5782 section 5.
    """
    for reply in (positive, negative):
        if reply.failure:
            return "not answering", reply.failure
        for code in reply.records:
            status, _, text = _read(code, meaning)
            if status == "refused":
                return "refusing", text
            if status == "rewritten":
                return "lists everything", text
    if negative.records and not meaning.loopback_is_listed:
        if set(negative.records) == {"127.0.0.1"} == set(positive.records):
            return "refusing", "127.0.0.1 is the answer for every address"
        return "lists everything", "127.0.0.1 is listed, which no list may have"
    if not positive.records or set(positive.records) == {"127.0.0.1"}:
        return "no test entry", "127.0.0.2 is not listed, which every list should have"
    return "working", ""


def usable(status: str) -> bool:
    """Say whether results of a list in this state mean anything."""
    return status in ("working", "no test entry")


def overall(states: Iterable[ListStatus]) -> ListStatus:
    """Give the one state to show of those of a list's families: the best, unless it lists everything."""
    order: Sequence[ListStatus] = (
        "lists everything", "working", "refusing", "no test entry", "not answering", "retired", "not tested",
    )  # fmt: skip
    return min(states, key=order.index, default="not tested")


def printable(text: str) -> str:
    """Give a text of others in one line, without control characters, those that turn the direction of writing among them."""
    return "".join(one for one in " ".join(text.split()) if unicodedata.category(one)[0] != "C")


def reason_of(text: str, key: str = "") -> str:
    """Give a TXT record for people: plain, without the operator's key, 500 characters at most."""
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    text = printable(text)
    if key:
        text = re.sub(re.escape(key), KEY, text, flags=re.IGNORECASE)
    return text[:_LONGEST_REASON]


def links_of(reason: str) -> tuple[str, ...]:
    """Give the links of a reason that may be shown as such: https only, whole."""
    return tuple(link.rstrip(".,;:!?)]}") for link in _HTTPS.findall(reason))


def keep_s(finding: Finding) -> float:
    """Give for how long a finding is taken as it is, in seconds. Source: E1, cache."""
    if finding.status in ("listed", "clean"):
        return min(max(finding.ttl_s, 300.0), 3600.0)
    return 300.0
