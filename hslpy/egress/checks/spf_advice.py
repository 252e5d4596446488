"""What to publish so that SPF allows an address. In: a domain's record, the address. Out: terms and records to copy.

Source: check P20 of the specification of delivery IPs; RFC 7208.
"""

from __future__ import annotations

from hslpy.dns.spf import Verdict
from hslpy.egress.rules.sources import family_of
from hslpy.records import record


@record
class SpfVerdict:
    """What SPF says of an address for a sender's domain, or for the HELO name. `record` is the one published, "" none."""

    domain: str
    result: Verdict
    reason: str = ""
    record: str = ""
    is_helo: bool = False


def term_for(address: str, spf_host: str) -> str:
    """Give the terms that would allow an address, for people: by the site's host name for all, and by itself."""
    own = f"ip{family_of(address)}:{address}"
    return f"a:{spf_host} or {own}" if spf_host else own


def ready_record(published: str, address: str, spf_host: str) -> str:
    """Give a record that allows an address: the one published with a term more, before those that refuse."""
    term = f"a:{spf_host}" if spf_host else f"ip{family_of(address)}:{address}"
    terms = published.split()
    if not terms or terms[0].lower() != "v=spf1":
        return f"v=spf1 {term} ~all"
    at = next((number for number, one in enumerate(terms[1:], 1) if one[0] in "-~?" or _ends(one)), len(terms))
    return " ".join([*terms[:at], term, *terms[at:]])


def _ends(term: str) -> bool:
    name = term.lower().lstrip("+")
    return name == "all" or name.startswith(("redirect=", "exp="))
