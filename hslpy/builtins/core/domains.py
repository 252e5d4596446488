"""Domain names as mail has them: public suffixes, internationalised names. In: names. Out: names, or none.

The list of suffixes is the one that publicsuffixlist ships, both its parts (registries and private owners).
"""

from __future__ import annotations

from functools import cache

import idna
from publicsuffixlist import PublicSuffixList

from hslpy.builtins.core.arguments import from_utf8, to_utf8
from hslpy.builtins.core.strings import lower
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run

TOPIC = Topic("domains")

_LONGEST = 1000  # characters; DNS has 253, and U-labels take up to four times that


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)


def _a_label(label: str) -> str:
    """Give a label as DNS has it: as it is when ASCII. Raises idna.IDNAError."""
    return label if label.isascii() else idna.alabel(idna.uts46_remap(label, std3_rules=False)).decode("ascii")


def _encoded(domain: str) -> str | None:
    """Give a domain's A-labels, ASCII labels (`_dmarc` among them) as they are; None when that cannot be."""
    text = from_utf8(domain) if len(domain) <= _LONGEST else None
    if text is None:
        return None
    if text.isascii():
        labels = text.split(".")
    else:
        labels = text.replace("\u3002", ".").replace("\uff0e", ".").replace("\uff61", ".").split(".")
    try:
        encoded = [_a_label(label) for label in labels]
    except idna.IDNAError:
        return None
    last = len(encoded) - 1
    if any(len(label) > 63 or (not label and index < last) for index, label in enumerate(encoded)):
        return None
    return ".".join(encoded)


def organizational_domain(call: Run, domain: str) -> str:
    """Give the label below the public suffix with the suffix (RFC 7489 section 3.2), for a suffix itself the suffix.

    A top level domain that the list does not know is a suffix. `domain` has A-labels.
    """
    found: str | None = call.offload(_suffixes).privatesuffix(lower(domain), accept_unknown=True)
    return found or lower(domain)


@TOPIC.builtin(
    "domain_publicsuffix(domain: string) -> string | none",
    effect=Effect.PURE,
    examples=[
        'domain_publicsuffix("www.example.co.uk")  // "co.uk"',
        'domain_publicsuffix("co.uk")  // "co.uk"',
        'domain_publicsuffix("www.example.nonsense")  // none',
    ],
)
def domain_publicsuffix(call: Run, domain: str) -> str | None:
    """Give the public suffix of a domain (publicsuffix.org) in lower case, none when it has none.

    Private suffixes, such as those of hosting companies, count too. Unicode names keep their form.
    """
    encoded = _encoded(domain)
    if not encoded:
        return None
    suffix = call.offload(_suffixes).publicsuffix(lower(encoded))
    if suffix is None:
        return None
    labels = lower(domain).split(".")
    return ".".join(labels[-suffix.count(".") - 1 :])


@TOPIC.builtin(
    "idna_encode(domain: string) -> string | none",
    effect=Effect.PURE,
    examples=[
        'idna_encode("fu\\xc3\\x9fball.example")  // "xn--fuball-cta.example"',
        'idna_encode("_dmarc.example.com")  // "_dmarc.example.com"',
    ],
)
def idna_encode(domain: str) -> str | None:
    """Give a Unicode domain (UTF-8) as A-labels, by IDNA 2008 with UTS 46 mapping; none when that cannot be.

    Labels in ASCII stay as they are.
    """
    return _encoded(domain)


@TOPIC.builtin(
    "idna_decode(domain: string) -> string | none",
    effect=Effect.PURE,
    examples=['idna_decode("xn--fuball-cta.example")  // "fu\\xc3\\x9fball.example"'],
)
def idna_decode(domain: str) -> str | None:
    """Give a domain with its A-labels as Unicode (UTF-8); none when one of them is no A-label."""
    text = from_utf8(domain) if len(domain) <= _LONGEST else None
    if text is None:
        return None
    try:
        labels = [idna.ulabel(label) if lower(label).startswith("xn--") else label for label in text.split(".")]
    except (idna.IDNAError, UnicodeError):
        return None
    return to_utf8(".".join(labels))
