"""Sections E and F of the specification of delivery IPs: queries, answers, the lists there are, and the checks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from hslpy.clock import ManualClock
from hslpy.egress.addresses.helos import Effective, Reversed
from hslpy.egress.addresses.lookups import NONE, Host, Lookup
from hslpy.egress.checks.facts import Facts, Probe, Reputation, Server
from hslpy.egress.checks.preflight import CHECKS
from hslpy.egress.checks.preflight import judge as check
from hslpy.egress.checks.spf_advice import SpfVerdict
from hslpy.egress.reputation import block_lists
from hslpy.egress.rules.dnsbl import Code, Meaning, Reply, decode, judge, keep_s, query_name, reason_of
from hslpy.egress.rules.names import Refused
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database

ROOT = Actor("root", "cli")


class TestNames:
    @pytest.mark.parametrize(
        ("address", "name"),
        [
            ("192.0.2.10", "10.2.0.192.z.example"),
            ("2001:db8::5", "5.0.0.0." + "0.0.0.0." * 5 + "8.b.d.0.1.0.0.2.z.example"),
            ("::ffff:192.0.2.10", "10.2.0.192.z.example"),
            ("::ffff:7f00:2", "2.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + "z.example"),
            ("::ffff:7f00:1", "1.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + "z.example"),
        ],
    )
    def test_query(self, address, name):
        assert query_name(address, "z.example") == name


CODED = Meaning(codes=(Code("127.0.0.2", "bad"), Code("127.0.0.4-7", "worse")))


class TestAnswers:
    @pytest.mark.parametrize(
        ("reply", "meaning", "status"),
        [
            (Reply(), Meaning(), "clean"),
            (Reply(("127.0.0.2",)), Meaning(), "listed"),
            (Reply(("127.0.0.2",)), CODED, "listed"),
            (Reply(("127.0.0.6", "127.0.0.2")), CODED, "listed"),
            (Reply(("127.0.0.1",)), Meaning(), "unknown"),
            (Reply(("127.0.0.1",)), CODED, "unknown"),
            (Reply(("127.255.255.252",)), Meaning(), "refused"),
            (Reply(("127.255.255.254",)), Meaning(), "refused"),
            (Reply(("127.255.255.255",)), CODED, "refused"),
            (Reply(("203.0.113.80",)), Meaning(), "rewritten"),
            (Reply(("0.0.0.0",)), CODED, "rewritten"),
            (Reply(failure="no answer in time"), Meaning(), "no answer"),
            (Reply(failure="SERVFAIL"), CODED, "no answer"),
        ],
    )
    def test_table(self, reply, meaning, status):
        assert decode(reply, meaning).status == status

    def test_mixed_answers_are_never_a_listing_where_one_was_refused(self):
        assert decode(Reply(("127.0.0.2", "127.255.255.254")), Meaning()).status == "refused"
        assert decode(Reply(("127.0.0.2", "203.0.113.80")), Meaning()).status != "clean"

    def test_what_txt_says(self):
        """TXT is untrusted: plain text, control characters removed, 500 characters at most."""
        text = reason_of("see\x1b[31m https://list.example/x\r\n<b>" + "x" * 900)
        assert len(text) <= 500 and text.isprintable() and "https://list.example/x" in text

    @pytest.mark.parametrize(
        ("positive", "negative", "state"),
        [
            (Reply(("127.0.0.2",)), Reply(), "working"),
            (Reply(("127.0.0.99",)), Reply(), "working"),
            (Reply(("127.0.0.2",)), Reply(("127.0.0.2",)), "lists everything"),
            (Reply(), Reply(), "no test entry"),
            (Reply(("127.255.255.254",)), Reply(("127.255.255.254",)), "refusing"),
            (Reply(failure="timeout"), Reply(failure="timeout"), "not answering"),
        ],
    )
    def test_states_of_lists(self, positive, negative, state):
        assert judge(positive, negative, Meaning())[0] == state

    def test_a_list_on_which_loopback_is(self):
        """Exceptions per list: Hostkarma lists 127.0.0.1."""
        both = Reply(("127.0.0.2",)), Reply(("127.0.0.1",))
        assert judge(*both, Meaning(loopback_is_listed=True))[0] == "working"

    @pytest.mark.parametrize(
        ("reply", "seconds"),
        [
            (Reply(("127.0.0.2",), 10.0), 300.0),
            (Reply(("127.0.0.2",), 1800.0), 1800.0),
            (Reply(("127.0.0.2",), 86400.0), 3600.0),
            (Reply((), 10.0), 300.0),
            (Reply((), 900.0), 900.0),
            (Reply((), 86400.0), 3600.0),
            (Reply(("127.255.255.255",), 3600.0), 300.0),
            (Reply(failure="timeout"), 300.0),
        ],
    )
    def test_how_long_they_are_kept(self, reply, seconds):
        assert keep_s(decode(reply, Meaning())) == seconds


# On by default · name · zone · families (those tried in brackets) · class; the codes are below. Source: E2.
LISTS = """
on  | Spamhaus ZEN       | zen.spamhaus.org                | 4 6   | address
on  | SpamCop            | bl.spamcop.net                  | 4 (6) | address
off | Barracuda BRBL     | b.barracudacentral.org          | 4     | address
on  | PSBL               | psbl.surriel.com                | 4     | address
on  | Mailspike BL       | bl.mailspike.net                | 4     | address
on  | UCEPROTECT Level 1 | dnsbl-1.uceprotect.net          | 4     | address
on  | UCEPROTECT Level 2 | dnsbl-2.uceprotect.net          | 4     | neighbourhood
on  | UCEPROTECT Level 3 | dnsbl-3.uceprotect.net          | 4     | neighbourhood
on  | SEM-BLACK          | bl.spameatingmonkey.net         | 4     | address
on  | SEM IPv6           | bl.ipv6.spameatingmonkey.net    | 6     | address
on  | blocklist.de       | bl.blocklist.de                 | 4     | address
on  | DroneBL            | dnsbl.dronebl.org               | 4 (6) | address
on  | GBUdb Truncate     | truncate.gbudb.net              | 4     | address
on  | s5h.net            | all.s5h.net                     | 4 (6) | address
on  | InterServer        | rbl.interserver.net             | 4     | address
on  | 0SPAM              | bl.0spam.org                    | 4     | address
on  | SPFBL              | dnsbl.spfbl.net                 | 4 (6) | address
on  | ZapBL              | dnsbl.zapbl.net                 | 4     | address
off | SWINOG dnsrbl      | dnsrbl.swinog.ch                | 4     | address
off | Virusfree BIP      | bip.virusfree.cz                | 4 6   | address
off | Hostkarma          | hostkarma.junkemailfilter.com   | 4 (6) | address
on  | Backscatterer      | ips.backscatterer.org           | 4     | informational
on  | SEM Backscatter    | backscatter.spameatingmonkey.net| 4     | informational
off | Abusix combined    | KEY.combined.mail.abusix.zone   | 4 6   | address
off | Validity RPBL      | bl.score.senderscore.com        | 4     | address
off | SpamRATS           | all.spamrats.com                | 4     | address
off | Suomispam          | bl.suomispam.net                | 4     | address
off | ScientificSpam     | bl.scientificspam.net           | 4     | address
off | Kempt              | dnsbl.kempt.net                 | 4     | address
off | Fabel              | spamsources.fabel.dk            | 4     | address
off | NoSolicitado       | bl.nosolicitado.org             | 4     | address
off | JIPPG              | mail-abuse.blacklist.jippg.org  | 4     | address
"""
# zone · last parts of codes · how bad they are, empty for what is no listing. Source: E2, E3.
CODES = [
    ("zen.spamhaus.org", "2 3 4 5 6 7 9", "critical"),
    ("zen.spamhaus.org", "10 11", "warning"),
    ("bl.spamcop.net", "2", "critical"),
    ("b.barracudacentral.org", "2", "critical"),
    ("psbl.surriel.com", "2", "warning"),
    ("bl.mailspike.net", "2 10 11 12", "warning"),
    ("bl.mailspike.net", "13 20", ""),
    ("dnsbl-1.uceprotect.net", "2", "warning"),
    ("dnsbl-2.uceprotect.net", "2", "information"),
    ("dnsbl-3.uceprotect.net", "2", "information"),
    ("bl.spameatingmonkey.net", "2 3", "warning"),
    ("bl.blocklist.de", "2 9 19", "warning"),
    ("dnsbl.dronebl.org", "3 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19", "warning"),
    ("dnsbl.dronebl.org", "1 2", ""),
    ("dnsbl.spfbl.net", "2 3 4", "warning"),
    ("hostkarma.junkemailfilter.com", "2", "warning"),
    ("hostkarma.junkemailfilter.com", "1 3 4 5", ""),
    ("ips.backscatterer.org", "2", "information"),
    ("backscatter.spameatingmonkey.net", "2", "information"),
    ("all.spamrats.com", "36 37 38 43", "warning"),
    ("bip.virusfree.cz", "2", "warning"),
]
RETIRED = [
    "dnsbl.sorbs.net",
    "spam.dnsbl.sorbs.net",
    "ix.dnsbl.manitu.net",
    "cbl.abuseat.org",
    "dnsbl.njabl.org",
    "rhsbl.ahbl.org",
    "dnsbl.ahbl.org",
    "bl.spamcannibal.org",
    "dnsbl.inps.de",
    "bl.emailbasura.org",
    "db.wpbl.info",
    "ubl.unsubscore.com",
    "ubl.lashback.com",
    "virbl.bit.nl",
    "dnsbl.cyberlogic.net",
    "abuse.rfc-ignorant.org",
    "combined.rbl.msrbl.net",
    "combined.abuse.ch",
    "drone.abuse.ch",
    "spam.abuse.ch",
    "spamtrap.drbl.drand.net",
    "spam.dnsbl.anonmails.de",
    "dnsbl.madavi.de",
    "sbl.spamdown.org",
    "rbl.megarbl.net",
    "dnsrbl.org",
    "all.rbl.jp",
    "bl.konstant.no",
    "rbl.triumf.ca",
    "relays.nether.net",
    "dul.ru",
    "blackholes.five-ten-sg.com",
    "bl.nszones.com",
    "spamrbl.imp.ch",
]
NO_LISTS = ["bogons.cymru.com", "dbl.spamhaus.org", "multi.surbl.org", "multi.uribl.com"]


@pytest.fixture
def populated(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'egress.db'}", ManualClock())
    database.open()
    block_lists.populate(database)
    yield database
    database.close()


class TestLists:
    def test_the_default_lists(self, populated):
        with populated.read() as session:
            held = {one.zone: one for one in block_lists.lists(session, hidden=True)}
        rows = [[cell.strip() for cell in line.split("|")] for line in LISTS.strip().splitlines()]
        for state, name, zone, families, kind in rows:
            one = held.pop(zone)
            asked = [*map(str, one.families), *(f"({tried})" for tried in one.tried_families)]
            assert ("on" if one.enabled else "off", one.name, " ".join(asked)) == (state, name, families)
            assert one.kind == kind or zone.startswith("hostkarma")
        assert not held, "no list besides"

    @pytest.mark.parametrize(
        ("zone", "codes", "severity"), CODES, ids=lambda value: value if isinstance(value, str) else None
    )
    def test_their_codes_and_severity(self, populated, zone, codes, severity):
        """E2's codes, E3's severity."""
        with populated.read() as session:
            meaning = block_lists.meaning_of(session.scalars(select(tables.Dnsbl).where(tables.Dnsbl.zone == zone)).one())
        for code in codes.split():
            found = decode(Reply((f"127.0.0.{code}",)), meaning)
            assert (found.status == "listed") == bool(severity), code
            assert found.severity == (severity or "none"), code

    def test_the_words_of_the_policy_list(self, populated):
        with populated.read() as session:
            row = session.scalars(select(tables.Dnsbl).where(tables.Dnsbl.zone == "zen.spamhaus.org")).one()
            found = decode(Reply(("127.0.0.10",)), block_lists.meaning_of(row))
        wanted = (
            "policy list: the network owner says this address should not send mail directly; "
            "request removal or set a static rDNS"
        )
        assert wanted in " ".join(found.meanings)

    @pytest.mark.parametrize("zone", RETIRED)
    def test_retired_lists_are_saved_disabled_and_not_enabled(self, populated, zone):
        with populated.read() as session:
            wanted = block_lists.draft(session, "gone", zone)
        assert wanted.retired and wanted.warning
        added = block_lists.add(populated, ROOT, wanted)
        assert not added.enabled and added.note
        (outcome,), _ = block_lists.set_enabled(populated, ROOT, [added.id], True)
        assert not outcome.done and outcome.message

    @pytest.mark.parametrize("zone", NO_LISTS)
    def test_not_lists_of_addresses_that_send_mail(self, populated, zone):
        with populated.read() as session, pytest.raises(Refused, match="is not a list of addresses that send mail"):
            block_lists.draft(session, "Mine", zone)

    def test_the_seeds_file(self, populated):
        """It declares one header and shows another; SORBS was shut down."""
        block_lists.remove(populated, ROOT, [self.of(populated, "bl.spamcop.net").id])
        for data in (
            b"rbl_domain,rbl\nbl.spamcop.net,SpamCop\ndnsbl.sorbs.net,SORBS\n",
            b"\xef\xbb\xbfrbl_hostname,rbl_name\r\nbl.spamcop.net,SpamCop\r\ndnsbl.sorbs.net,SORBS\r\n",
            b"bl.spamcop.net;SpamCop\ndnsbl.sorbs.net;SORBS\n",
            b"- rbl_domain,rbl\n- bl.spamcop.net,SpamCop\n- dnsbl.sorbs.net,SORBS\n",
        ):
            preview = block_lists.import_csv(populated, ROOT, data, preview=True)
            assert [row.outcome for row in preview.rows] == ["new", "new"], data
        done = block_lists.import_csv(populated, ROOT, data)
        assert done.text.startswith("2 added") and self.of(populated, "bl.spamcop.net").enabled
        sorbs = self.of(populated, "dnsbl.sorbs.net")
        assert not sorbs.enabled and "2024" in f"{sorbs.note} {sorbs.status_detail}"
        again = block_lists.import_csv(populated, ROOT, data + b"not a host,x\n")
        assert again.text.startswith("0 added, 2 skipped (already present), 1 error (line 4")

    def of(self, database, zone):
        with database.read() as session:
            return next(one for one in block_lists.lists(session) if one.zone == zone)

    @pytest.mark.parametrize(
        ("link", "zone"),
        [
            ("bl.example.net", "bl.example.net"),
            (".bl.example.net.", "bl.example.net"),
            ("https://BL.example.net/lookup?x=1", "bl.example.net"),
            ("http://bl.example.net", "bl.example.net"),
        ],
    )
    def test_dnsbl_links(self, populated, link, zone):
        with populated.read() as session:
            assert block_lists.draft(session, "Mine", link).zone == zone

    @pytest.mark.parametrize(
        ("name", "link"),
        [
            ("", "bl.example.net"),
            ("x" * 65, "bl.example.net"),
            ("spamcop", "bl.example.net"),
            ("Mine", "example"),
            ("Mine", "192.0.2.1"),
            ("Mine", "bl_x.example..net"),
            ("Mine", "bl.spamcop.net"),
            ("Mine", ""),
        ],
    )
    def test_what_is_no_list(self, populated, name, link):
        with populated.read() as session, pytest.raises(Refused):
            block_lists.draft(session, name, link)

    def test_export_round_trips(self, populated):
        with populated.read() as session:
            text = block_lists.export_csv(session)
        assert text.splitlines()[0] == "rbl_hostname,rbl_name"
        done = block_lists.import_csv(populated, ROOT, text.encode(), preview=True)
        assert {row.outcome for row in done.rows} == {"already present"}

    def test_keys_are_masked(self, populated):
        zen = self.of(populated, "zen.spamhaus.org")
        key = "abcdefghijklmnopqrstuvwxyz"
        block_lists.edit(populated, ROOT, zen.id, {"key": key})
        with populated.read() as session:
            assert key not in repr(block_lists.lists(session)) and key not in block_lists.export_csv(session)
            assert key not in repr([(one.arguments, one.result) for one in session.scalars(select(tables.Audit))])
            assert block_lists.asked_zone(
                session.scalars(select(tables.Dnsbl).where(tables.Dnsbl.id == zen.id)).one().zone, key
            ).startswith(key)


NOW = 1_700_000_000.0
X = "193.0.2.10"


def found(*records, ttl_s=3600.0):
    return Lookup("found", records, ttl_s)


def leads(*addresses):
    four, six = [one for one in addresses if ":" not in one], [one for one in addresses if ":" in one]
    return Host(found(*four) if four else NONE, found(*six) if six else NONE)


FAILED = Lookup("failed", error="no answer in time")
N1 = Server("node1.example.com", frozenset({"193.0.2.1"}), frozenset({"193.0.2.1"}), leads("193.0.2.1"))
N2 = Server("node2.example.com", frozenset({"193.0.2.2"}), frozenset({"193.0.2.2", X}), leads("193.0.2.2"))
GOOD = Facts(
    address=X, node="node2.example.com", now=NOW, resolver="127.0.0.1", reported_at=NOW - 60, present=True, bind="",
    servers=(N1, N2), assigned=("node2.example.com",), names=found("out1.example.com"),
    hosts={"out1.example.com": leads(X), "spf.example.tld": leads(X), "out.node1.example.com": leads(X)},
    helo=Effective(X, "out1.example.com", "ptr", "out1.example.com"),
    before=Reversed(("out1.example.com",), "out1.example.com", NOW, NOW, ttl_s=3600),
    probe_host="probe.example.com", probe=Probe(seen=X), spf=(SpfVerdict("a.example", "pass", "ip4", "v=spf1 -all"),),
    spf_host="spf.example.tld", reputation=Reputation((), 12), neighbours=(), warmup="warm",
)  # fmt: skip


def but(**changes):
    return replace(GOOD, **changes)


def of_kind(address, **changes):
    return but(address=address, names=None, hosts={}, helo=None, **changes)


def helo(name, to=None):
    return but(helo=Effective(X, name, "set", "out1.example.com"), hosts={**GOOD.hosts, name: to or leads(X)})


def spf(*results):
    return but(spf=tuple(SpfVerdict(f"d{at}.example", result) for at, result in enumerate(results)))


# id · facts · severity · the operator's wording as section F has it
WORDINGS = [
    ("P01", but(address="1.2.3"), "critical", "'1.2.3' is not an IP address."),
    ("P02", of_kind("169.254.1.1"), "critical", "169.254.1.1 cannot be used on the internet (link-local)."),
    ("P02", of_kind("127.0.0.1"), "critical", "127.0.0.1 cannot be used on the internet (loopback)."),
    ("P02", of_kind("224.0.0.1"), "critical", "224.0.0.1 cannot be used on the internet (multicast)."),
    ("P02", of_kind("192.0.2.1"), "critical", "192.0.2.1 cannot be used on the internet (documentation)."),
    ("P02", of_kind("240.0.0.1"), "critical", "240.0.0.1 cannot be used on the internet (reserved)."),
    (
        "P03",
        but(present=False, bind=None),
        "critical",
        f"{X} is not configured on node2.example.com. Add it to the network configuration, then "
        "rescan. Until then it is skipped.",
    ),
    (
        "P04",
        of_kind("2a00:1450::5", flags=("temporary",)),
        "warning",
        "2a00:1450::5 is a temporary IPv6 address and will change.",
    ),
    (
        "P05",
        of_kind("10.0.0.5"),
        "critical",
        "10.0.0.5 is private. Enter the public address it is translated to, so that DNS and block lists can be checked.",
    ),
    (
        "P06",
        but(probe=Probe(error="timed out")),
        "warning",
        f"Connections from {X} do not leave the server (check gateway, policy routing, rp_filter, firewall port 25).",
    ),
    ("P07", but(names=NONE), "critical", f"{X} has no reverse DNS (PTR). Many receivers refuse mail from such addresses."),
    (
        "P08",
        but(names=found("a.example", "b.example", "out1.example.com")),
        "warning",
        f"{X} has 3 PTR names; receivers may pick any. Keep one.",
    ),
    (
        "P09",
        but(names=found("out_1.example.com")),
        "critical",
        "The PTR 'out_1.example.com' contains an underscore, which is not allowed in a host name "
        "(RFC 5321/1123). It is not used as HELO.",
    ),
    (
        "P10",
        but(hosts={**GOOD.hosts, "out1.example.com": leads("203.0.113.9")}),
        "critical",
        f"PTR says out1.example.com, but that name resolves to 203.0.113.9, not to {X}.",
    ),
    ("P11", but(names=found("host-193-0-2-10.dynamic.example")), "warning", "The PTR looks automatically generated."),
    (
        "P12",
        but(names=found("out.node1.example.com")),
        "critical",
        "'out.node1.example.com' lies below the server name node1.example.com. Use another name.",
    ),
    (
        "P13",
        but(servers=(replace(N1, host=leads("193.0.2.1", X)), N2)),
        "critical",
        f"node1.example.com also resolves to {X}. Server names must point only to the primary address.",
    ),
    ("P14", helo("localhost"), "critical", f"The HELO for {X} is 'localhost'."),
    (
        "P15",
        but(hosts={**GOOD.hosts, "out1.example.com": leads("193.0.2.9")}),
        "critical",
        f"HELO out1.example.com does not resolve to {X}.",
    ),
    ("P16", helo("other.example.com"), "warning", "HELO and PTR differ."),
    ("P17", but(address="193.0.2.1"), "critical", "193.0.2.1 is the primary address of node1."),
    ("P18", but(same_helo=("193.0.2.11",)), "info", None),
    (
        "P19",
        of_kind("2a00:1450::5", neighbours=("2a00:1450::9",)),
        "info",
        "2a00:1450::9 of the same /64 is listed. Receivers often judge a whole /64.",
    ),
    (
        "P20",
        spf(*["pass"] * 5, *["softfail"] * 7),
        "warning",
        f"7 of 12 domains do not allow {X} in SPF. Add a:spf.example.tld or ip4:{X}.",
    ),
    ("P20", spf("pass", "fail"), "critical", f"1 of 2 domains do not allow {X} in SPF. Add a:spf.example.tld or ip4:{X}."),
    ("P20", spf("permerror"), "critical", None),
    ("P20", spf("neutral"), "warning", None),
    ("P20", spf("none"), "warning", None),
    ("P20", spf("temperror"), "unknown", None),
    (
        "P21",
        but(hosts={**GOOD.hosts, "spf.example.tld": leads("193.0.2.1")}),
        "warning",
        f"spf.example.tld does not list {X} yet.",
    ),
    ("P22", but(reputation=Reputation((("SpamCop", "critical", ""),), 11)), "critical", f"{X} is listed by SpamCop."),
    ("P22", but(reputation=Reputation((("PSBL", "warning", ""),), 11)), "warning", f"{X} is listed by PSBL."),
    (
        "P22",
        but(reputation=Reputation((("UCEPROTECT Level 3", "information", ""),), 11)),
        "info",
        f"{X} is listed by UCEPROTECT Level 3.",
    ),
    ("P23", but(warmup="", first_seen_at=NOW - 3600), "info", f"{X} is new. Warm it up for at least 7 days."),
    (
        "P24",
        but(replacing="193.0.2.99", queued_locked=1240),
        "critical",
        "There are 1,240 queued messages from locked senders. Remove them first or the new address will be listed too.",
    ),
    (
        "P25",
        but(ipv4_disabled=True, has_ipv6=True, without_ipv6=0.62),
        "critical",
        "62 % of last week's receivers have no IPv6 address.",
    ),
    ("P26", but(names=found("out1.example.com", ttl_s=60.0)), "info", None),
    # DNS trouble is never a pass or a fail.
    ("P07", but(names=FAILED), "unknown", None),
    ("P10", but(hosts={**GOOD.hosts, "out1.example.com": Host(FAILED, FAILED)}), "unknown", None),
    ("P15", but(hosts={**GOOD.hosts, "out1.example.com": Host(FAILED, FAILED)}), "unknown", None),
    ("P13", but(servers=(replace(N1, host=Host(FAILED, FAILED)), N2)), "unknown", None),
    ("P21", but(hosts={**GOOD.hosts, "spf.example.tld": Host(FAILED, FAILED)}), "unknown", None),
    ("P22", but(reputation=Reputation((), 0, 12)), "unknown", None),
]


@pytest.mark.parametrize(
    ("id", "facts", "severity", "wording"), [pytest.param(*row, id=f"{row[0]}-{row[2]}") for row in WORDINGS]
)
def test_checks(id, facts, severity, wording):
    found = {one.check: one for one in check(facts)}
    assert id in found, list(found)
    assert found[id].outcome == severity, found[id]
    assert wording is None or found[id].text.startswith(wording), found[id].text


def test_all_26_checks_and_none_for_tls():
    """P27: names of TLS need not match; no finding."""
    assert [one.id for one in CHECKS] == [f"P{number:02}" for number in range(1, 27)]
    assert all(one.outcome == "pass" for one in check(GOOD)), [one for one in check(GOOD) if one.outcome != "pass"]


def test_a_sibling_of_a_servers_name_is_fine():
    """P12: `out1.example.com` beside `node1.example.com`."""
    assert {one.check: one.outcome for one in check(GOOD)}["P12"] == "pass"
    primary = replace(GOOD, address="193.0.2.2", names=found("node2.example.com"))
    assert {one.check: one.outcome for one in check(primary)}["P12"] == "pass", "the primary address has the server's name"
