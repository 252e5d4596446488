"""What operators write for addresses and HELO names: A2.4, A3 and A4."""

from __future__ import annotations

import pytest

from hslpy.egress.rules.names import Refused, address_of_host, domain_name, helo_name, is_private, read_interfaces


@pytest.mark.parametrize(
    ("text", "ipv4", "ipv6"),
    [
        ("", (), ()),
        ("default", (), ()),
        (" 192.0.2.1 ; 192.0.2.2;", ("192.0.2.1", "192.0.2.2"), ()),
        ("192.0.2.1;192.0.2.1", ("192.0.2.1",), ()),
        ("2001:DB8:0:0::1;1.1.1.1", ("1.1.1.1",), ("2001:db8::1",)),
        ("0.0.0.0;::", ("0.0.0.0",), ("::0",)),
        ("0.0.0.0;2001:db8::1", ("0.0.0.0",), ("2001:db8::1",)),
        ("::0", (), ("::0",)),
    ],
)
def test_lists_of_addresses(text, ipv4, ipv6):
    assert read_interfaces(text) == (ipv4, ipv6)


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3",
        "010.0.0.1",
        "a.b.c.d",
        "192.0.2.0/24",
        "fe80::1%eth0",
        "fe80::1",
        "224.0.0.1",
        "127.0.0.1",
        "::1",
        "169.254.1.1",
        "255.255.255.255",
        "240.0.0.1",
        "::ffff:192.0.2.1",
        "0.0.0.0;192.0.2.1",
        "::0;2001:db8::1",
        "ff02::1",
        ";".join(f"192.0.2.{n}" for n in range(65)),
    ],
)
def test_what_mail_cannot_leave_from(text):
    with pytest.raises(Refused):
        read_interfaces(text)


@pytest.mark.parametrize("text", ["224.0.0.1", "ff02::1", "255.255.255.255", "0.0.0.0", "::", "::ffff:192.0.2.1", "1.2.3"])
def test_neither_a_node_nor_a_helo_name_has_an_address_that_no_host_has(text):
    with pytest.raises(Refused):
        address_of_host(text)
    assert address_of_host(" 2001:DB8::1 ") == "2001:db8::1" and address_of_host("127.0.0.2") == "127.0.0.2"


def test_the_texts_of_refusals():
    with pytest.raises(Refused, match=r"^'1\.2\.3' is not an IP address$"):
        read_interfaces("1.2.3")
    with pytest.raises(Refused, match=r"^'224\.0\.0\.1' cannot be used as a source address \(multicast\)$"):
        read_interfaces("224.0.0.1")
    text = r"^'out_1\.example\.com' is not a valid HELO name: underscore is not allowed \(RFC 5321 section 4\.1\.2\)$"
    with pytest.raises(Refused, match=text):
        helo_name("out_1.example.com")


def test_loopback_where_the_site_allows_it():
    assert read_interfaces("127.0.0.5", allow_loopback=True) == (("127.0.0.5",), ())
    assert is_private("10.1.2.3") and is_private("100.64.0.1") and is_private("fd00::1") and not is_private("192.0.2.1")


@pytest.mark.parametrize(
    ("text", "name", "warned"),
    [
        ("Out1.Example.COM.", "out1.example.com", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("[192.0.2.1]", "[192.0.2.1]", True),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]", True),
        ("a-b.c1.example", "a-b.c1.example", False),
    ],
)
def test_helo_names(text, name, warned):
    found, warnings = helo_name(text)
    assert found == name and bool(warnings) is warned


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        "-a.example.com",
        "a-.example.com",
        "a..example.com",
        "a.example.com\r\nMAIL FROM:<>",
        "a b.example.com",
        "x" * 64 + ".example.com",
        "a." * 127 + "example",
        "192.0.2.1",
        "[192.0.2]",
        "[x]",
        "",
        ".",
        "ex\x00.com",
        "a/b.example",
    ],
)
def test_what_is_no_helo_name(text):
    with pytest.raises(Refused):
        helo_name(text)


def test_domains():
    assert domain_name(" Bücher.Example. ") == "xn--bcher-kva.example"
    for text in ("", "x", "a b.example", "a@b.example", "192.0.2.1"):
        with pytest.raises(Refused):
            domain_name(text)
