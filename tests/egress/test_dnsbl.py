"""What lists are asked and what they mean: RFC 5782 and section E1, on values alone."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.egress.reputation import dnsbl_lists
from hslpy.egress.reputation.block_lists import asked_zone, shown_zone, zone_of
from hslpy.egress.rules.dnsbl import (
    NEGATIVE,
    POSITIVE,
    Code,
    Finding,
    Meaning,
    Reply,
    decode,
    family_of,
    is_reserved,
    judge,
    keep_s,
    links_of,
    query_name,
    read_codes,
    reason_of,
)
from hslpy.egress.rules.names import Refused

ZEN = dnsbl_lists.BY_ZONE["zen.spamhaus.org"].meaning
HOSTKARMA = dnsbl_lists.BY_ZONE["hostkarma.junkemailfilter.com"].meaning
ANY = Meaning()


def test_names_that_are_asked():
    assert query_name("192.0.2.99", "bl.test") == "99.2.0.192.bl.test"
    v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test"
    assert query_name("2001:db8::1", "bl.test") == v6
    assert query_name("::ffff:192.0.2.99", "bl.test") == "99.2.0.192.bl.test" and family_of("::ffff:192.0.2.99") == 4
    assert query_name(POSITIVE[6], "bl.test") == "2.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + "bl.test"
    assert query_name(NEGATIVE[6], "bl.test") == "1.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + "bl.test"
    assert query_name(POSITIVE[4], "bl.test") == "2.0.0.127.bl.test"


@given(st.ip_addresses())
def test_a_name_leads_back_to_its_address(ip):
    labels = query_name(str(ip), "bl.test").removesuffix(".bl.test").split(".")[::-1]
    if len(labels) == 4:
        found = ipaddress.ip_address(".".join(labels))
        assert found == (getattr(ip, "ipv4_mapped", None) or ip)
    else:
        assert ipaddress.IPv6Address(int("".join(labels), 16)) == ip


@pytest.mark.parametrize(
    ("records", "meaning", "status", "severity"),
    [
        ((), ZEN, "clean", "none"),
        (("127.0.0.2",), ZEN, "listed", "critical"),
        (("127.0.0.5",), ZEN, "listed", "critical"),
        (("127.0.0.11",), ZEN, "listed", "warning"),
        (("127.0.0.10", "127.0.0.3"), ZEN, "listed", "critical"),
        (("127.0.0.99",), ZEN, "unknown", "none"),
        (("127.0.0.1",), ZEN, "unknown", "none"),
        (("127.0.0.1",), ANY, "unknown", "none"),
        (("127.0.0.77",), ANY, "listed", "warning"),
        (("127.255.255.254",), ANY, "refused", "none"),
        (("127.0.0.2", "127.255.255.255"), ANY, "refused", "none"),
        (("203.0.113.9",), ANY, "rewritten", "none"),
        (("203.0.113.9", "127.0.0.2"), ANY, "rewritten", "none"),
        (("127.0.0.1",), HOSTKARMA, "clean", "none"),
        (("127.0.0.2",), HOSTKARMA, "listed", "warning"),
        (("127.0.1.3",), HOSTKARMA, "clean", "none"),
        (("127.0.0.2",), dnsbl_lists.BY_ZONE["dnsbl-3.uceprotect.net"].meaning, "listed", "information"),
        (("127.0.0.2",), dnsbl_lists.BY_ZONE["dnsbl.dronebl.org"].meaning, "clean", "none"),
        (("127.0.0.255",), Meaning(codes=(Code("127.0.0.255", "", "refusal"),)), "refused", "none"),
    ],
)
def test_answers(records, meaning, status, severity):
    finding = decode(Reply(records, 600.0), meaning)
    assert (finding.status, finding.severity) == (status, severity)
    assert finding.counts == (severity in ("critical", "warning"))


def test_what_is_told_of_answers():
    assert decode(Reply(failure="no answer in time"), ZEN) == Finding("no answer", detail="no answer in time")
    assert "removal" in decode(Reply(("127.0.0.11",)), ZEN).meanings[0]
    assert "public" in decode(Reply(("127.255.255.254",)), ZEN).detail
    assert (
        decode(Reply(("127.0.0.2",)), dnsbl_lists.BY_ZONE["ips.backscatterer.org"].meaning).word == "Listed (informational)"
    )


@given(st.lists(st.ip_addresses(v=4), max_size=4), st.sampled_from([ANY, ZEN, HOSTKARMA]))
def test_listed_is_never_more_than_the_codes_say(ips, meaning):
    finding = decode(Reply(tuple(map(str, ips)), 60.0), meaning)
    loopback = ipaddress.ip_network("127.0.0.0/8")
    if finding.status in ("listed", "unknown") or (finding.status == "clean" and ips):
        assert all(ip in loopback for ip in ips)
    if set(map(str, ips)) == {"127.0.0.1"}:
        assert finding.status != "listed"
    assert 300 <= keep_s(finding) <= 3600


TWO = Reply(("127.0.0.2",))


@pytest.mark.parametrize(
    ("positive", "negative", "meaning", "status"),
    [
        (TWO, Reply(), ANY, "working"),
        (Reply(("127.0.0.99",)), Reply(), ANY, "working"),
        (TWO, Reply(("127.0.0.1",)), HOSTKARMA, "working"),
        (TWO, Reply(("127.0.0.1",)), ANY, "lists everything"),
        (TWO, TWO, ANY, "lists everything"),
        (Reply(("203.0.113.9",)), Reply(("203.0.113.9",)), ANY, "lists everything"),
        (TWO, Reply(("203.0.113.9",)), ANY, "lists everything"),
        (Reply(), Reply(), ANY, "no test entry"),
        (Reply(("127.255.255.254",)), Reply(("127.255.255.254",)), ANY, "refusing"),
        (Reply(("127.0.0.1",)), Reply(("127.0.0.1",)), ANY, "refusing"),
        (Reply(failure="SERVFAIL"), Reply(), ANY, "not answering"),
        (TWO, Reply(failure="no answer in time"), ANY, "not answering"),
    ],
)
def test_test_entries(positive, negative, meaning, status):
    assert judge(positive, negative, meaning)[0] == status


def test_reasons_are_plain_text():
    assert reason_of("see\x1b[31m https://x.test/\u202e?a\n", "") == "see[31m https://x.test/?a"
    assert reason_of("Gr\xc3\xbc\xc3\x9fe") == "Grüße" and len(reason_of("x" * 900)) == 500
    assert reason_of("key Secretkey1 used", "secretkey1") == "key KEY used"
    assert links_of("http://a.test https://b.test/x?y=1. javascript:1 (https://c.test)") == (
        "https://b.test/x?y=1",
        "https://c.test",
    )


@pytest.mark.parametrize(
    ("address", "reserved"),
    [
        ("10.1.2.3", True),
        ("100.64.0.1", True),
        ("127.0.0.5", True),
        ("fd00::1", True),
        ("fe80::1", True),
        ("224.0.0.1", True),
        ("8.8.8.8", False),
        ("2001:db8::1", False),
    ],
)
def test_addresses_no_list_can_know(address, reserved):
    assert is_reserved(address) == reserved


def test_codes_of_operators():
    codes = read_codes("127.0.0.2=spam; .4-7, 127.0.1.*")
    assert [code.matches for code in codes] == ["127.0.0.2", "127.0.0.4-7", "127.0.1.*"] and codes[0].meaning == "spam"
    assert decode(Reply(("127.0.0.6",)), Meaning(codes=codes)).status == "listed"
    for bad in ("10.0.0.1", "127.0.0.256", "x"):
        with pytest.raises(Refused):
            read_codes(bad)


@pytest.mark.parametrize(
    ("text", "zone", "key"),
    [
        ("bl.spamcop.net", "bl.spamcop.net", ""),
        (" .BL.SpamCop.net. ", "bl.spamcop.net", ""),
        ("https://bl.spamcop.net/lookup?x=1", "bl.spamcop.net", ""),
        ("http://user@bl.spamcop.net:8080", "bl.spamcop.net", ""),
        ("bl.spamcop.net/", "bl.spamcop.net", ""),
        ("abcdef1234567890.zen.dq.spamhaus.net", "KEY.zen.dq.spamhaus.net", "abcdef1234567890"),
        ("KEY.combined.mail.abusix.zone", "KEY.combined.mail.abusix.zone", ""),
    ],
)
def test_zones_as_they_are_pasted(text, zone, key):
    assert zone_of(text) == (zone, key)


@pytest.mark.parametrize(
    "text", ["", "localhost", "192.0.2.1", "[2001:db8::1]", "http://192.0.2.1/", "a b.test", "x." * 130, "-a.b"]
)
def test_what_is_no_zone(text):
    with pytest.raises(Refused):
        zone_of(text)


def test_the_table_of_lists():
    zones = [known.zone for known in dnsbl_lists.DEFAULTS]
    assert len(set(zones)) == len(zones) and len({known.name.casefold() for known in dnsbl_lists.DEFAULTS}) == len(zones)
    for known in dnsbl_lists.DEFAULTS:
        assert dnsbl_lists.retired(known.zone) is None and dnsbl_lists.not_of_addresses(known.zone) is None
        assert zone_of(known.zone) == (known.zone, "")
        read_codes(",".join(code.matches for code in known.meaning.codes))
        assert known.families and not set(known.families) & set(known.tried) and len(known.name) <= 64
    assert sum(known.enabled for known in dnsbl_lists.DEFAULTS) == 19
    assert dnsbl_lists.retired("dnsbl.sorbs.net") == "SORBS was shut down in June 2024"
    assert dnsbl_lists.retired("dnsbl-1.uceprotect.net") is None
    assert asked_zone("zen.spamhaus.org", "k3y") == "k3y.zen.dq.spamhaus.net"
    assert shown_zone("zen.spamhaus.org", "k3y") == "KEY.zen.dq.spamhaus.net"
