"""The checks of an address, on facts: each passes, fails and is unknown; trouble never makes one pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hslpy.egress.addresses.helos import Effective, Reversed
from hslpy.egress.addresses.inventory import REPORT_S
from hslpy.egress.addresses.lookups import NONE, Host, Lookup
from hslpy.egress.checks import preflight
from hslpy.egress.checks.facts import Facts, Finding, Probe, Reputation, Server
from hslpy.egress.checks.generic import looks_generic
from hslpy.egress.checks.preflight import CHECKS, judge, status
from hslpy.egress.checks.spf_advice import SpfVerdict, ready_record

NOW = 1_700_000_000.0
DAY = 86400.0
X, SIX = "193.0.2.10", "2a00:1450::5"
FAILED = Lookup("failed", error="no answer in time")


def found(*records: str, ttl_s: float = 3600.0) -> Lookup:
    return Lookup("found", records, ttl_s)


def host(*addresses: str) -> Host:
    four, six = [one for one in addresses if ":" not in one], [one for one in addresses if ":" in one]
    return Host(found(*four) if four else NONE, found(*six) if six else NONE)


BROKEN = Host(FAILED, FAILED)
HALF = Host(found("193.0.2.1"), FAILED)
N1 = Server("node1.example.com", frozenset({"193.0.2.1"}), frozenset({"193.0.2.1", X}), host("193.0.2.1"))
N2 = Server("node2.example.com", frozenset({"193.0.2.2"}), frozenset({"193.0.2.2"}), host("193.0.2.2"))
GOOD = Facts(
    address=X,
    node="node1.example.com",
    now=NOW,
    resolver="127.0.0.1",
    reported_at=NOW - 60,
    present=True,
    bind="",
    servers=(N1, N2),
    assigned=("node1.example.com",),
    names=found("out1.example.com"),
    hosts={"out1.example.com": host(X), "spf.example.com": host(X, "193.0.2.1")},
    helo=Effective(X, "out1.example.com", "ptr", "out1.example.com"),
    before=Reversed(("out1.example.com",), "out1.example.com", NOW, NOW, ttl_s=3600),
    probe_host="probe.example.com",
    probe=Probe(seen=X),
    spf=(SpfVerdict("out1.example.com", "none", "", "", True), SpfVerdict("a.example", "pass", "ip4", "v=spf1 ip4 -all")),
    spf_host="spf.example.com",
    reputation=Reputation((), 12),
    neighbours=(),
    warmup="warm",
    ipv4_disabled=True,
    has_ipv6=True,
    without_ipv6=0.0,
    replacing="193.0.2.99",
    queued_locked=0,
)
GOOD6 = replace(
    GOOD,
    address=SIX,
    hosts={"out1.example.com": host(SIX), "spf.example.com": host(SIX)},
    probe=Probe(seen=SIX),
)


def names(*names: str, facts: Facts = GOOD, **hosts: Host) -> Facts:
    return replace(facts, names=found(*names), hosts={**facts.hosts, **dict(hosts)})


def helo(name: str, facts: Facts = GOOD, leads: Host | None = None, origin: str = "set") -> Facts:
    hosts = {**facts.hosts, name: leads or host(facts.address)}
    return replace(facts, helo=Effective(facts.address, name, origin, "d.example"), hosts=hosts)  # type: ignore[arg-type]


def of(check: str, facts: Facts) -> Finding | None:
    return next((one for one in judge(facts) if one.check == check), None)


def test_all_is_well():
    for facts in (GOOD, GOOD6):
        findings = judge(facts)
        assert {one.outcome for one in findings} == {"pass"} and status(findings) == "pass"
    assert {one.check for one in (*judge(GOOD), *judge(GOOD6))} == {f"P{number:02}" for number in range(1, 27)}
    assert [one.id for one in CHECKS] == [f"P{number:02}" for number in range(1, 27)]


def r(**changes):
    return replace(GOOD, **changes)


def six(**changes):
    return replace(GOOD6, **changes)


def servers(**hosts: Host | None) -> Facts:
    return r(servers=(replace(N1, host=hosts.get("n1", N1.host)), replace(N2, host=hosts.get("n2", N2.host))))


def spf(*results: str, record: str = "", **more) -> Facts:
    return r(spf=tuple(SpfVerdict(f"d{number}.example", one, "why", record) for number, one in enumerate(results)), **more)


PRIVATE = {"address": "10.0.0.5", "public_address": X, "servers": (N2,)}
P = "Receivers often judge a whole /64."
CASES = [
    ("P01", r(address="1.2.3"), "critical", "'1.2.3' is not an IP address."),
    ("P02", six(address="fe80::1"), "critical", "fe80::1 cannot be used on the internet (link-local)."),
    ("P02", r(address="127.0.0.1"), "critical", "127.0.0.1 cannot be used on the internet (loopback)."),
    ("P02", r(address="224.0.0.1"), "critical", "224.0.0.1 cannot be used on the internet (multicast)."),
    ("P02", r(address="192.0.2.1"), "critical", "192.0.2.1 cannot be used on the internet (documentation)."),
    ("P02", six(address="2001:db8::1"), "critical", "2001:db8::1 cannot be used on the internet (documentation)."),
    ("P02", r(address="240.0.0.1"), "critical", "240.0.0.1 cannot be used on the internet (reserved)."),
    ("P02", r(address="198.18.0.1"), "critical", "198.18.0.1 cannot be used on the internet (reserved)."),
    ("P02", r(address="10.0.0.1"), "pass", "10.0.0.1 can be used on the internet."),
    (
        "P03",
        r(present=False),
        "critical",
        f"{X} is not configured on node1.example.com. Add it to the network configuration, then rescan. "
        "Until then it is skipped.",
    ),
    (
        "P03",
        r(bind="it is not on this machine"),
        "critical",
        "Mail cannot leave from 193.0.2.10 on node1.example.com: it is not",
    ),
    ("P03", r(flags=("unbindable",)), "critical", "Mail cannot leave from"),
    ("P03", r(nonlocal_bind=(4,)), "warning", "ip_nonlocal_bind is on at node1.example.com: a bind test proves nothing"),
    ("P03", r(nonlocal_bind=(6,)), "pass", ""),
    ("P03", r(reported_at=None), "unknown", "node1.example.com has not reported its addresses yet"),
    ("P03", r(reported_at=NOW - 2 * REPORT_S - 1), "unknown", "node1.example.com was not reachable since"),
    ("P04", six(flags=("tentative",)), "critical", f"{SIX} is not usable yet (tentative)."),
    ("P04", six(flags=("dadfailed", "tentative")), "critical", f"{SIX} is in use by another machine"),
    ("P04", six(flags=("deprecated",)), "critical", f"{SIX} is deprecated"),
    ("P04", six(flags=("temporary",)), "warning", f"{SIX} is a temporary IPv6 address and will change."),
    ("P04", six(reported_at=None), "unknown", f"The state of {SIX} is not known."),
    (
        "P05",
        r(**{**PRIVATE, "public_address": ""}),
        "critical",
        "10.0.0.5 is private. Enter the public address it is translated to, so that DNS and block lists can be checked.",
    ),
    ("P05", r(**PRIVATE), "warning", f"10.0.0.5 is private and translated to {X}"),
    ("P06", r(probe_host="", probe=None), "unknown", "No probe host is set"),
    ("P06", r(probe=None), "unknown", f"Connections from {X} can be tried by node1.example.com alone."),
    ("P06", r(probe=Probe("no such name", reached=False)), "unknown", "Whether connections"),
    (
        "P06",
        r(probe=Probe("timed out")),
        "warning",
        f"Connections from {X} do not leave the server (check gateway, policy routing, rp_filter, firewall port 25).",
    ),
    (
        "P06",
        r(probe=Probe(seen="193.0.2.1")),
        "warning",
        f"probe.example.com sees connections from {X} as coming from 193.0.2.1.",
    ),
    ("P06", r(**PRIVATE), "pass", ""),
    ("P07", r(names=NONE), "critical", f"{X} has no reverse DNS (PTR). Many receivers refuse mail from such addresses."),
    ("P07", r(names=FAILED), "unknown", f"The reverse DNS (PTR) of {X} is not known: no answer in time."),
    (
        "P07",
        r(**{**PRIVATE, "public_address": "", "names": None}),
        "unknown",
        "The reverse DNS (PTR) of 10.0.0.5 is not known",
    ),
    (
        "P08",
        names("a.x.example", "b.x.example", "c.x.example"),
        "warning",
        f"{X} has 3 PTR names; receivers may pick any. Keep one.",
    ),
    (
        "P09",
        names("out_1.example.com"),
        "critical",
        "The PTR 'out_1.example.com' contains an underscore, which is not allowed in a host name (RFC 5321/1123). "
        "It is not used as HELO.",
    ),
    ("P09", names("localhost"), "critical", "The PTR 'localhost' is not a legal host name"),
    ("P09", names("a.example.1"), "critical", "The PTR 'a.example.1' is not a legal host name"),
    (
        "P10",
        names("out1.example.com", **{"out1.example.com": host("203.0.113.9")}),
        "critical",
        f"PTR says out1.example.com, but that name resolves to 203.0.113.9, not to {X}.",
    ),
    (
        "P10",
        names("x.example", **{"x.example": host()}),
        "critical",
        "PTR says x.example, but that name has no such address",
    ),
    (
        "P10",
        names("x.example", **{"x.example": BROKEN}),
        "unknown",
        "PTR says x.example; whether that leads back is not known",
    ),
    ("P10", names("out1.example.com", "x.example", **{"x.example": BROKEN}), "unknown", ""),
    ("P10", names("y.example", "x.example", **{"x.example": BROKEN, "y.example": host()}), "critical", ""),
    ("P11", names("193-0-2-10.pool.example.net"), "warning", "The PTR looks automatically generated."),
    (
        "P12",
        names("out.node1.example.com"),
        "critical",
        "'out.node1.example.com' lies below the server name node1.example.com. Use another name.",
    ),
    ("P12", names("node2.example.com"), "critical", "'node2.example.com' is the name of a server. Use another name."),
    (
        "P12",
        helo("mx.node2.example.com"),
        "critical",
        "'mx.node2.example.com' lies below the server name node2.example.com.",
    ),
    ("P12", names("xnode1.example.com"), "pass", ""),
    ("P12", replace(names("node1.example.com"), address="193.0.2.1"), "pass", "193.0.2.1 is the primary address"),
    ("P12", r(names=FAILED), "unknown", ""),
    (
        "P13",
        servers(n1=host("193.0.2.1", X)),
        "critical",
        f"node1.example.com also resolves to {X}. Server names must point only to the primary address.",
    ),
    ("P13", servers(n2=host("193.0.2.2", X)), "critical", f"node2.example.com also resolves to {X}."),
    ("P13", servers(n1=host("193.0.2.1", "193.0.2.77")), "critical", "node1.example.com also resolves to 193.0.2.77."),
    ("P13", servers(n2=host("193.0.2.2", "193.0.2.77")), "pass", ""),
    (
        "P13",
        six(servers=(replace(N1, primary=frozenset({"2a00:1450::1"}), host=host("2a00:1450::1", SIX)),)),
        "warning",
        f"node1.example.com also resolves to {SIX}.",
    ),
    ("P13", servers(n1=BROKEN), "unknown", "Where node1.example.com resolves to is not known"),
    ("P13", servers(n2=HALF), "unknown", ""),
    ("P13", servers(n2=None), "unknown", ""),
    ("P13", r(servers=(replace(N1, primary=frozenset(), host=host(X)),)), "unknown", ""),
    ("P14", helo("localhost"), "critical", f"The HELO for {X} is 'localhost'."),
    ("P14", helo("mail.localdomain"), "critical", f"The HELO for {X} is 'mail.localdomain'."),
    ("P14", helo(""), "critical", f"The HELO for {X} is ''."),
    ("P14", helo(f"[{X}]"), "warning", "an address"),
    ("P14", r(helo=None), "unknown", ""),
    ("P15", helo("x.example", leads=host("193.0.2.9")), "critical", f"HELO x.example does not resolve to {X}."),
    ("P15", helo("x.example", leads=BROKEN), "unknown", ""),
    ("P15", helo(f"[{X}]"), "pass", ""),
    ("P15", helo("[193.0.2.9]"), "critical", ""),
    ("P15", r(helo=None), "unknown", ""),
    ("P16", helo("x.example"), "warning", "HELO and PTR differ."),
    ("P16", helo("OUT1.example.com", origin="ptr"), "pass", ""),
    ("P16", r(names=FAILED), "unknown", ""),
    ("P17", r(address="193.0.2.2"), "critical", "193.0.2.2 is the primary address of node2.example.com."),
    (
        "P17",
        r(servers=(N1, replace(N2, addresses=frozenset({X})))),
        "critical",
        f"{X} is configured on node2.example.com too.",
    ),
    ("P17", r(assigned=("node1.example.com", "node2.example.com")), "warning", f"{X} is assigned to node2.example.com too."),
    ("P17", r(former=(X, NOW - DAY)), "warning", f"The primary address of node1.example.com was {X} until"),
    ("P17", r(former=(X, NOW - 31 * DAY)), "pass", ""),
    ("P18", r(same_helo=("193.0.2.12",)), "info", "HELO out1.example.com is also used for 193.0.2.12."),
    ("P18", replace(helo("x.example", leads=host(X, "193.0.2.12")), same_helo=("193.0.2.12",)), "pass", ""),
    ("P18", replace(helo("x.example", leads=BROKEN), same_helo=("193.0.2.12",)), "unknown", ""),
    ("P19", six(neighbours=("2a00:1450::9",)), "info", f"2a00:1450::9 of the same /64 is listed. {P}"),
    ("P19", six(neighbours=None), "unknown", ""),
    (
        "P20",
        spf(*["pass"] * 5, *["softfail", "neutral", "none"] * 2, "softfail", spf_host="spf.example.tld"),
        "warning",
        f"7 of 12 domains do not allow {X} in SPF. Add a:spf.example.tld or ip4:{X}.",
    ),
    ("P20", spf("pass", "fail"), "critical", "1 of 2 domains do not allow"),
    ("P20", spf("permerror"), "critical", "d0.example does not allow"),
    ("P20", spf("pass", "temperror"), "unknown", "Whether SPF of 1 of 2 names allows"),
    ("P20", spf("softfail", "temperror"), "warning", ""),
    ("P20", r(spf=()), "info", f"No sender's domain uses {X}."),
    ("P20", r(spf=None), "unknown", ""),
    (
        "P20",
        r(spf=(SpfVerdict("out1.example.com", "fail", "-all", "v=spf1 -all", True), SpfVerdict("a.example", "pass"))),
        "critical",
        "SPF of the HELO name out1.example.com does not allow",
    ),
    (
        "P21",
        r(hosts={**GOOD.hosts, "spf.example.com": host("193.0.2.1")}),
        "warning",
        f"spf.example.com does not list {X} yet.",
    ),
    ("P21", r(hosts={**GOOD.hosts, "spf.example.com": BROKEN}), "unknown", ""),
    ("P22", r(reputation=Reputation((("SpamCop", "critical", ""),), 9)), "critical", f"{X} is listed by SpamCop."),
    ("P22", r(reputation=Reputation((("PSBL", "warning", ""),), 9)), "warning", f"{X} is listed by PSBL."),
    ("P22", r(reputation=Reputation((("UCEPROTECT 3", "information", "AS"),), 9)), "info", ""),
    (
        "P22",
        r(reputation=Reputation((), 9, 1)),
        "unknown",
        f"{X} is on no list that answered; 1 of 10 lists gave no usable answer.",
    ),
    ("P22", r(reputation=None), "unknown", f"{X} has not been checked on any list."),
    ("P23", r(warmup="", first_seen_at=NOW - DAY), "info", f"{X} is new. Warm it up for at least 7 days."),
    ("P23", r(warmup="", first_seen_at=NOW - 31 * DAY), "pass", ""),
    ("P23", r(warmup="", used_at=NOW - 31 * DAY), "info", f"{X} has sent no mail for 30 days."),
    ("P23", r(warmup="", used_at=NOW - DAY, first_seen_at=NOW - 2 * DAY), "pass", ""),
    ("P23", r(warmup="warming"), "info", f"{X} is being warmed up."),
    ("P23", r(warmup="paused"), "info", f"The warm-up of {X} is paused."),
    (
        "P24",
        r(queued_locked=1240),
        "critical",
        "There are 1,240 queued messages from locked senders. Remove them first or the new address will be listed too.",
    ),
    ("P24", r(queued_locked=1), "critical", "There is 1 queued message from locked senders."),
    ("P24", r(queued_locked=None), "unknown", ""),
    ("P25", r(without_ipv6=0.62), "critical", "62 % of last week's receivers have no IPv6 address."),
    ("P25", r(without_ipv6=0.001), "critical", "Less than 1 % of last week's receivers have no IPv6 address."),
    ("P25", r(has_ipv6=False), "critical", "node1.example.com has no usable IPv6 address with reverse DNS"),
    ("P25", r(without_ipv6=None), "unknown", ""),
    ("P26", r(names=found("out1.example.com", ttl_s=60)), "info", "are kept for 60 s only"),
    ("P26", r(before=replace(GOOD.before, changed_at=NOW - 600)), "info", f"The PTR of {X} was changed at"),
    ("P26", r(before=replace(GOOD.before, changed_at=NOW - 3601)), "pass", ""),
    ("P26", names("x.example", **{"x.example": BROKEN}), "unknown", ""),
]


@pytest.mark.parametrize(("check", "facts", "outcome", "text"), CASES)
def test_each_check(check, facts, outcome, text):
    finding = of(check, facts)
    assert finding is not None and finding.outcome == outcome
    assert text in finding.text


def test_every_check_passes_fails_and_is_unknown():
    seen = {(check, outcome) for check, _, outcome, _ in CASES}
    trouble = (*judge(r(names=FAILED)), *judge(six(names=FAILED)), *judge(r(helo=None)))
    seen |= {(one.check, one.outcome) for one in trouble}
    always_known = ("P01", "P02", "P05", "P17", "P23")
    for row in CHECKS:
        assert seen & {(row.id, bad) for bad in ("info", "warning", "critical")}, row.id
        assert row.id in always_known or (row.id, "unknown") in seen, row.id
        assert row.title and row.severity and row.wording


def test_what_does_not_apply_is_left_out():
    assert of("P04", GOOD) is None and of("P19", GOOD) is None
    for check in ("P08", "P09", "P10", "P11", "P16", "P26"):
        assert of(check, r(names=NONE)) is None
    assert (
        of("P21", r(spf_host="")) is None
        and of("P24", r(replacing="")) is None
        and of("P25", r(ipv4_disabled=False)) is None
    )
    assert [one.check for one in judge(r(address="1.2.3"))] == ["P01"]
    assert of("P01", r(address=" 2A00:1450::0:5 ")).text == f"{SIX} is an IP address."


def test_the_status_is_the_worst_and_unknown_where_nothing_is_known():
    assert status([]) == "unknown"
    assert status(judge(r(probe_host="", probe=None, reputation=None))) == "pass"  # nobody asked for those
    assert status(judge(r(names=FAILED))) == "unknown"
    assert status(judge(r(queued_locked=5, names=FAILED))) == "critical"
    assert status(judge(r(warmup="paused"))) == "info"
    assert [one.check for one in preflight.critical(judge(r(queued_locked=5)))] == ["P24"]


LOOKUPS = st.sampled_from(
    [NONE, FAILED, found("out1.example.com"), found("a_b.example", "x.example"), found("node1.example.com")]
)
HOSTS = st.sampled_from([host(), host(X), host(X, SIX), host("193.0.2.1"), host("193.0.2.1", X), BROKEN, HALF])
RESULTS = st.sampled_from(["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"])
KNOWN_NAMES = ("out1.example.com", "x.example", "a_b.example", "spf.example.com", "node1.example.com")


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    name = draw(st.sampled_from(KNOWN_NAMES))
    return replace(
        draw(st.sampled_from([GOOD, GOOD6])),
        names=draw(LOOKUPS),
        hosts={one: draw(HOSTS) for one in KNOWN_NAMES},
        helo=Effective(X, name, "set", name),
        servers=(replace(N1, host=draw(HOSTS)), replace(N2, host=draw(HOSTS))),
        same_helo=draw(st.sampled_from([(), ("193.0.2.12",), (X,)])),
        spf=draw(st.none() | st.lists(st.builds(SpfVerdict, st.just("a.example"), RESULTS), max_size=3).map(tuple)),
        reported_at=draw(st.none() | st.sampled_from([NOW, NOW - DAY])),
        queued_locked=draw(st.none() | st.integers(0, 3)),
        without_ipv6=draw(st.none() | st.floats(0, 1)),
        has_ipv6=draw(st.none() | st.booleans()),
        present=draw(st.booleans()),
    )


def broken(lookup: Lookup, really: bool) -> Lookup:
    return FAILED if really else lookup


@given(facts(), st.data())
def test_an_unknown_never_becomes_a_pass(known, data):
    really = st.booleans()

    def less(one: Host | None) -> Host | None:
        if one is None or data.draw(really):
            return None if data.draw(really) else BROKEN
        return Host(broken(one.ipv4, data.draw(really)), broken(one.ipv6, data.draw(really)))

    trouble = replace(
        known,
        names=broken(known.names, data.draw(really)),
        hosts={name: less(one) or BROKEN for name, one in known.hosts.items()},
        servers=tuple(replace(one, host=less(one.host)) for one in known.servers),
        spf=None
        if known.spf is None
        else tuple(replace(one, result="temperror") if data.draw(really) else one for one in known.spf),
        reported_at=None if data.draw(really) else known.reported_at,
        queued_locked=None if data.draw(really) else known.queued_locked,
        without_ipv6=None if data.draw(really) else known.without_ipv6,
        has_ipv6=None if data.draw(really) else known.has_ipv6,
    )
    assume(trouble != known)
    before = {one.check: one.outcome for one in judge(known)}
    for finding in judge(trouble):
        if finding.outcome == "pass":
            assert before.get(finding.check) == "pass", finding


# ---- what the checks rest on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "193-0-2-10.example.net",
        "10.2.0.193.example.net",
        "host-193-000-002-010.example.net",
        "ec2-193-0-2-10.eu-west-1.compute.amazonaws.com",
        "193000002010.example.net",
        "xc100020a.example.net".replace("x", ""),
        "ip3238003210.example.net",
        "dsl-17.example.net",
        "dynamic.example.net",
        "a.pool.example.net",
        "static-ip-17.example.net",
    ],
)
def test_names_that_look_generated(name):
    assert looks_generic(name, X)


@pytest.mark.parametrize(
    "name",
    ["out1.example.com", "mail10.example.com", "mta-2-10.example.com", "liverpool.example.com", "1193-0-2-10.example"],
)
def test_names_that_do_not(name):
    assert not looks_generic(name, X)


def test_generated_names_of_ipv6():
    for name in (
        "2a00-1450--5.example.net",
        "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.4.1.0.0.a.2.example",
        "2a001450000000000000000000000005.example.net",
    ):
        assert looks_generic(name, SIX)
    assert looks_generic("h-d2c8ab1bbfb45349.example", "2a00:1450::d2c8:ab1b:bfb4:5349")
    assert not looks_generic("out5.example.com", SIX) and not looks_generic("out1.example.com", "2a00::1")


@pytest.mark.parametrize(
    ("published", "spf_host", "ready"),
    [
        ("", "", f"v=spf1 ip4:{X} ~all"),
        ("", "spf.example.tld", "v=spf1 a:spf.example.tld ~all"),
        ("v=spf1 mx -all", "spf.example.tld", "v=spf1 mx a:spf.example.tld -all"),
        ("v=spf1 mx ~all exp=e.example", "", f"v=spf1 mx ip4:{X} ~all exp=e.example"),
        ("v=spf1 redirect=_spf.example", "", f"v=spf1 ip4:{X} redirect=_spf.example"),
        ("v=spf1 -ip4:192.0.2.0/24 mx -all", "", f"v=spf1 ip4:{X} -ip4:192.0.2.0/24 mx -all"),
        ("v=spf1", "", f"v=spf1 ip4:{X}"),
    ],
)
def test_records_to_publish(published, spf_host, ready):
    assert ready_record(published, X, spf_host) == ready


def test_the_record_to_publish_is_shown():
    finding = of("P20", spf("fail", record="v=spf1 mx -all"))
    assert finding.evidence == ("d0.example: fail (why); record to publish: v=spf1 mx a:spf.example.com -all",)
