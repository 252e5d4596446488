"""Block lists that are known: those there from the start, and those that are gone. In: a zone. Out: rows of two tables.

Source: section E2 of the specification of delivery IPs, where it says what each row rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hslpy.egress.rules.book import Family
from hslpy.egress.rules.dnsbl import POLICY, Code, Meaning
from hslpy.records import record


@record
class Known:
    """A list that comes with hslpy.

    `families` are asked; those `tried` only once their test entry has answered. With a key `keyed_zone` is asked instead of
    `zone`. `limits` is what its operator asks for.
    """

    name: str
    zone: str
    families: tuple[Family, ...] = (4,)
    tried: tuple[Family, ...] = ()
    enabled: bool = True
    meaning: Meaning = Meaning()
    limits: str = ""
    url: str = ""
    keyed_zone: str = ""
    needs_key: bool = False


def _codes(meanings: Mapping[str, str], start: str = "127.0.0") -> tuple[Code, ...]:
    return tuple(Code(f"{start}.{last}", meaning) for last, meaning in meanings.items())


_TWO = Meaning(codes=_codes({"2": ""}))
_ANY = Meaning(codes=_codes({"*": ""}))
_AREA = Meaning("neighbourhood", _codes({"2": ""}))
_NOT_SPAM = Meaning("informational", _codes({"2": "backscatter"}))
_SMALL = "free at small volume"
_UCEPROTECT = "https://www.uceprotect.net/en/rblcheck.php"
_SEM = "https://spameatingmonkey.com/lookup"

_ZEN = Meaning(
    codes=(
        *_codes({"2": "SBL", "3": "CSS", "4-7": "XBL", "9": "DROP"}),
        Code("127.0.0.10", f"PBL (ISP), {POLICY}", "warning"),
        Code("127.0.0.11", f"PBL (Spamhaus), {POLICY}", "warning"),
    ),
    critical=True,
)
_DRONEBL = Meaning(
    codes=(
        Code("127.0.0.1-2", "test entry", "none"),
        *_codes(
            {
                "3": "IRC drone", "5": "bottler", "6": "spambot", "7": "DDoS drone", "8": "SOCKS proxy", "9": "HTTP proxy",
                "10": "proxy chain", "11": "web proxy", "12": "open resolver", "13": "brute force", "14": "WinGate",
                "15": "router", "16": "worm", "17": "botnet", "18": "DNS or MX on IRC", "19": "VPN",
            }
        ),
    )
)  # fmt: skip
_HOSTKARMA = Meaning(
    codes=(
        Code("127.0.0.1", "white list", "none"),
        Code("127.0.0.2", "black list"),
        Code("127.0.0.3", "yellow list", "none"),
        Code("127.0.0.4", "brown list", "none"),
        Code("127.0.0.5", "not to be listed", "none"),
        Code("127.0.1.*", "informational", "none"),
        Code("127.0.2.*", "informational", "none"),
    ),
    loopback_is_listed=True,
)
_SPAMRATS = Meaning(codes=_codes({"36": "Dyna", "37": "NoPtr", "38": "Spam", "43": "Auth"}))
_MAILSPIKE = Meaning(codes=_codes({"2": "", "10": "worst", "11": "very bad", "12": "bad"}))
_SPFBL = Meaning(codes=_codes({"2": "bad reputation", "3": "suspicious or residential", "4": "no or generic reverse DNS"}))
_SUOMI = Meaning(codes=(*_codes({"2": ""}), Code("127.0.0.99", "test entry", "none")))

DEFAULTS: Sequence[Known] = (
    Known(
        "Spamhaus ZEN", "zen.spamhaus.org", (4, 6), meaning=_ZEN, url="https://check.spamhaus.org/",
        limits="free at low volume, not for business, from a resolver of your own; else with a DQS key",
        keyed_zone="KEY.zen.dq.spamhaus.net",
    ),
    Known(
        "SpamCop", "bl.spamcop.net", tried=(6,), meaning=Meaning(codes=_codes({"2": ""}), critical=True),
        limits="free; entries expire by themselves", url="https://www.spamcop.net/bl.shtml",
    ),
    Known(
        "Barracuda BRBL", "b.barracudacentral.org", enabled=False,
        meaning=Meaning(codes=_codes({"2": ""}), critical=True), url="https://www.barracudacentral.org/rbl/removal-request",
        limits="free; the addresses that ask have to be registered",
    ),
    Known("PSBL", "psbl.surriel.com", meaning=_TWO, limits="free; removal by oneself", url="https://psbl.org/"),
    Known("Mailspike BL", "bl.mailspike.net", meaning=_MAILSPIKE, limits="free within limits", url="https://mailspike.io/"),
    Known("UCEPROTECT Level 1", "dnsbl-1.uceprotect.net", meaning=_TWO, limits="free; it expires after 7 days",
        url=_UCEPROTECT),
    Known(
        "UCEPROTECT Level 2", "dnsbl-2.uceprotect.net", meaning=_AREA, url=_UCEPROTECT,
        limits="lists the range around an address; paid removal is not advised",
    ),
    Known(
        "UCEPROTECT Level 3", "dnsbl-3.uceprotect.net", meaning=_AREA, url=_UCEPROTECT,
        limits="lists the whole network of a provider; paid removal is not advised",
    ),
    Known(
        "SEM-BLACK", "bl.spameatingmonkey.net", meaning=Meaning(codes=_codes({"2-3": ""})), limits=_SMALL, url=_SEM,
    ),
    Known("SEM IPv6", "bl.ipv6.spameatingmonkey.net", (6,), meaning=_TWO, limits=_SMALL, url=_SEM),
    Known(
        "blocklist.de", "bl.blocklist.de", meaning=_ANY, limits="attacks on all services, mail among them",
        url="https://www.blocklist.de/en/delist.html",
    ),
    Known("DroneBL", "dnsbl.dronebl.org", tried=(6,), meaning=_DRONEBL, limits="free", url="https://dronebl.org/lookup"),
    Known(
        "GBUdb Truncate", "truncate.gbudb.net", meaning=_TWO, limits="free; automatic removal",
        url="https://www.gbudb.com/truncate/",
    ),
    Known("s5h.net", "all.s5h.net", tried=(6,), meaning=_TWO, limits="free", url="https://www.usenix.org.uk/content/rbl.html"),
    Known("InterServer", "rbl.interserver.net", meaning=_TWO, limits="free", url="https://rbl.interserver.net/"),
    Known("0SPAM", "bl.0spam.org", meaning=_ANY, limits="free", url="https://0spam.org/"),
    Known(
        "SPFBL", "dnsbl.spfbl.net", tried=(6,), meaning=_SPFBL, limits="free; to be registered for volume",
        url="https://matrix.spfbl.net/",
    ),
    Known("ZapBL", "dnsbl.zapbl.net", meaning=_TWO, limits="free", url="https://zapbl.net/"),
    Known("SWINOG dnsrbl", "dnsrbl.swinog.ch", enabled=False, meaning=_ANY, limits="free"),
    Known(
        "Virusfree BIP", "bip.virusfree.cz", (4, 6), enabled=False, meaning=Meaning(codes=_codes({"2": "botnet"})),
        limits="free",
    ),
    Known("Hostkarma", "hostkarma.junkemailfilter.com", tried=(6,), enabled=False, meaning=_HOSTKARMA, limits="free"),
    Known("Backscatterer", "ips.backscatterer.org", meaning=_NOT_SPAM, limits="not for rejecting in general"),
    Known("SEM Backscatter", "backscatter.spameatingmonkey.net", meaning=_NOT_SPAM, limits=_SMALL, url=_SEM),
    Known(
        "Abusix combined", "KEY.combined.mail.abusix.zone", (4, 6), enabled=False, meaning=_ANY, needs_key=True,
        limits="with a key", url="https://lookup.abusix.com/",
    ),
    Known(
        "Validity RPBL", "bl.score.senderscore.com", enabled=False, meaning=_ANY, url="https://senderscore.org/",
        limits="with an account: resolvers that are not registered are always refused",
    ),
    Known("SpamRATS", "all.spamrats.com", enabled=False, meaning=_SPAMRATS, limits="refuses many resolvers in clouds"),
    Known("Suomispam", "bl.suomispam.net", enabled=False, meaning=_SUOMI, limits=_SMALL),
    Known("ScientificSpam", "bl.scientificspam.net", enabled=False, meaning=_TWO, limits=_SMALL),
    Known("Kempt", "dnsbl.kempt.net", enabled=False, meaning=_TWO, limits=_SMALL),
    Known("Fabel", "spamsources.fabel.dk", enabled=False, meaning=_TWO, limits=_SMALL),
    Known("NoSolicitado", "bl.nosolicitado.org", enabled=False, meaning=_TWO, limits=_SMALL),
    Known("JIPPG", "mail-abuse.blacklist.jippg.org", enabled=False, meaning=_TWO, limits=_SMALL),
)  # fmt: skip
BY_ZONE: Mapping[str, Known] = {known.zone: known for known in DEFAULTS}

_GONE = "was shut down"
_SILENT = "has no name server any more"
RETIRED: Mapping[str, tuple[str, str]] = {
    "sorbs.net": ("SORBS", "was shut down in June 2024"),
    "ix.dnsbl.manitu.net": ("NiX Spam", "was emptied in January 2025"),
    "cbl.abuseat.org": ("CBL", "is part of Spamhaus XBL: use Spamhaus ZEN"),
    "dnsbl.njabl.org": ("NJABL", _GONE),
    "ahbl.org": ("AHBL", "was shut down in 2015 and lists every address"),
    "bl.spamcannibal.org": ("SpamCannibal", "was shut down in 2018 and lists every address"),
    "dnsbl.inps.de": ("inps.de", "was shut down in 2020"),
    "bl.emailbasura.org": ("EmailBasura", "was shut down in 2019"),
    "db.wpbl.info": ("WPBL", _GONE),
    "ubl.unsubscore.com": ("Lashback UBL", _SILENT),
    "ubl.lashback.com": ("Lashback UBL", _SILENT),
    "virbl.bit.nl": ("VIRBL", "was shut down in 2017"),
    "dnsbl.cyberlogic.net": ("Cyberlogic", _GONE),
    "rfc-ignorant.org": ("RFC-Ignorant", _GONE),
    "msrbl.net": ("MSRBL", _GONE),
    "combined.abuse.ch": ("abuse.ch", _GONE),
    "drone.abuse.ch": ("abuse.ch", _GONE),
    "spam.abuse.ch": ("abuse.ch", _GONE),
    "spamtrap.drbl.drand.net": ("DRBL drand", "was shut down in March 2024"),
    "spam.dnsbl.anonmails.de": ("Anonmails", "gave bogus answers in November 2024"),
    "dnsbl.madavi.de": ("Madavi", "was shut down in March 2025"),
    "sbl.spamdown.org": ("Spamdown", "was shut down in March 2026"),
    "rbl.megarbl.net": ("MegaRBL", _GONE),
    "dnsrbl.org": ("DNSRBL", _GONE),
    "all.rbl.jp": ("RBL.JP", _GONE),
    "bl.konstant.no": ("Konstant", _GONE),
    "rbl.triumf.ca": ("TRIUMF", _GONE),
    "relays.nether.net": ("Nether", _GONE),
    "dul.ru": ("DUL.RU", _GONE),
    "blackholes.five-ten-sg.com": ("Five-Ten", _GONE),
    "nszones.com": ("NSZones", "is a fake list, says Spamhaus"),
    "spamrbl.imp.ch": ("SWINOG spamrbl", "was renamed: its name is spamrbl.swinog.ch"),
}
"""Zones that nobody should ask any more, those below them included: what each was called, and what became of it."""

NOT_OF_ADDRESSES: Mapping[str, str] = {
    "bogons.cymru.com": "it lists networks that nobody uses",
    "dbl.spamhaus.org": "it lists domains, and answers 127.0.1.255 (no queries of addresses)",
    "multi.surbl.org": "it lists domains of links",
    "multi.uribl.com": "it lists domains of links",
    "list.dnswl.org": "it is a white list: being on it is good",
}
"""Zones that are no lists of addresses which send spam, and why."""


def retired(zone: str) -> str | None:
    """Say what became of a list, `SORBS was shut down in June 2024`; None for one that may be asked."""
    found = _at_or_above(zone, RETIRED)
    return " ".join(RETIRED[found]) if found is not None else None


def not_of_addresses(zone: str) -> str | None:
    """Say why a zone is no list of addresses that send mail; None for one that may be."""
    found = _at_or_above(zone, NOT_OF_ADDRESSES)
    return NOT_OF_ADDRESSES[found] if found is not None else None


def _at_or_above(zone: str, table: Mapping[str, object]) -> str | None:
    labels = zone.lower().split(".")
    above = (".".join(labels[start:]) for start in range(len(labels)))
    return next((name for name in above if name in table), None)
