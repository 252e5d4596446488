"""Who receives, and what a refusal means for the address it was said to. In: an MX host, a reply. Out: a group, a word.

Plain functions over tables of wordings as receivers publish them. Source: sections D4 and D5 of the specification of
delivery IPs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Literal

Standing = Literal["", "throttled", "blocked"]

GROUPS: Mapping[str, Sequence[str]] = {
    "google": ("google.com", "googlemail.com", "smtp.goog"),
    "microsoft": ("outlook.com", "hotmail.com", "office365.us", "partner.outlook.cn"),
    "yahoo": ("yahoodns.net", "yahoo.co.jp"),
    "apple": ("icloud.com", "apple.com"),
    "comcast": ("comcast.net",),
    "gmx": ("gmx.net", "gmx.com", "web.de", "mail.com", "1and1.com", "kundenserver.de"),
    "orange": ("orange.fr", "wanadoo.fr"),
    "telekom": ("t-online.de",),
    "mail.ru": ("mail.ru",),
    "yandex": ("yandex.net", "yandex.ru"),
    "mimecast": ("mimecast.com", "mimecast-offshore.com"),
    "proofpoint": ("pphosted.com", "ppe-hosted.com", "gpphosted.com"),
    "barracuda": ("barracudanetworks.com",),
}
"""Receivers with limits of their own for new addresses, by what the names of their mail hosts end in."""

# Lists of addresses by name, and what is said where a list has none. A list of domains or links says nothing of the address.
_NAMES_LIST = r"""
    spamhaus | \b(?:zen|sbl|xbl|pbl|css)\b[-.\s]\w* | spamcop | barracuda(?:central|networks|\sreputation) | \bbrbl\b
    | uceprotect | abusix | sorbs | spamrats | psbl | mailspike | senderscore | \bcloudmark\b | blocklist\.de | hostkarma
    | backscatterer | \bs5h\.net | truncate\.gbudb | invaluement | nixspam | spfbl | 0spam
    | \bdns(?:w|b|r)?bls?\b | \brbls?\b | dnsbl-lookup | block[\s-]?list | black[\s-]?list(?:ed)?
    | \bblocked\s+(?:using|by)\s+\S+\.\S+ | removal\s+from\s+(?:this|the|our)\s+list | banned\s+sending\s+ip
    | \bS3140\b | \bS3150\b | \bBL\d{2,} """
_OF_DOMAINS = r"dbl\.spamhaus|spamhaus\s+dbl|\bsurbl|\buribl|\bivmuri|domain\s+(?:is\s+)?(?:on|in|listed)|\burls?\b"
# Of the sender, of a recipient's own list: an address of a person, not of a machine.
_OF_PEOPLE = r"sender(?:'s)?\s+(?:e-?mail\s+)?address|envelope\s+sender|user(?:'s)?\s+block|recipient(?:'s)?\s+block"
_LIMITS = r"""
    throttl | rate[\s-]?limit | limited\s+the\s+rate | unusual\s+rate | unexpected\s+volume | excessive\s+(?:volume|rate)
    | user\s+complaints | reputation | \bTSS?\d\d\b | temporarily\s+(?:deferred|blocked|banned|rejected)\b
    | too\s+(?:many|much)\s+(?:\w+\s+){0,2}
      (?:messages?|mails?|e-?mails?|connections?|sessions?|spams?|errors?|complaints?)\b
    | too\s+(?:fast|quickly|frequent) | limits?\s+(?:for|on)\s+how\s+many | trop\s+de\s+connexions
    | zu\s+viele\s+(?:mails|verbindungen)
    | (?:rate|volume|sending|hourly|daily|connection|message|messages)\s+(?:limits?|quota|rate)\b.{0,30}\b(?:exceed|reach)
    | (?:exceed|reach)\w*\s+.{0,40}\b(?:rate|volume|connections?|messages?\s+per|sending\s+limits?)\b
    | server\s+busy.{0,60}\bS77\d+ | \bRP-00\d\b | \bRL0000\d+ | \bRT\s*:?\s*BB\b | unsolicited """
# What is no word on the address: greylisting asks everyone to come again, and a mailbox has limits of its own.
_OF_OTHERS = (
    r"gr[ea]y-?list|\[GL\d\d\]|mailbox\s+(?:\w+\s+){0,2}(?:full|quota)|over\s+quota|user\s+you\s+are\s+trying\s+to\s+contact"
    r"|recipient\s+.{0,30}\brate\b|too\s+many\s+(?:recipients|hops)"
)


@cache
def _compiled(wording: str) -> re.Pattern[str]:
    return re.compile(wording, re.IGNORECASE | re.VERBOSE)


def _says(wording: str, text: str) -> bool:
    return _compiled(wording).search(text) is not None


def standing(code: int, text: str) -> Standing:
    """Say what a refusal means for the address that it was said to: `blocked`, `throttled`, empty for neither.

    `blocked`: a 5yz that names a block list. `throttled`: a 4yz that speaks of rates or reputation, or of a block list.
    """
    if code < 400 or _says(_OF_PEOPLE, text):
        return ""
    listed = _says(_NAMES_LIST, text) and not _says(_OF_DOMAINS, text)
    if code >= 500:
        return "blocked" if listed else ""
    if _says(_OF_OTHERS, text):
        return ""
    return "throttled" if listed or _says(_LIMITS, text) else ""


def refuses(code: int, text: str, address: str) -> bool:
    """Say whether a refusal is for the address that mail came from: it names a block list, or the address.

    A limit is none, though it name the address; nor is greylisting. Source: C4.
    """
    if code < 400 or _says(_OF_PEOPLE, text) or _says(_OF_OTHERS, text):
        return False
    if _says(_NAMES_LIST, text):
        return not _says(_OF_DOMAINS, text)
    if not address or (code < 500 and _says(_LIMITS, text)):
        return False
    return re.search(rf"(?<![\w.:]){re.escape(address)}(?![\w:]|\.\d)", text, re.IGNORECASE) is not None


@lru_cache(maxsize=4096)
def group_of(host: str) -> str:
    """Give the group of receivers that a mail host belongs to, empty for one of none."""
    name = host.lower().removesuffix(".")
    for group, endings in GROUPS.items():
        if any(name == ending or name.endswith("." + ending) for ending in endings):
            return group
    return ""
