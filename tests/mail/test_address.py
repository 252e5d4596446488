"""What addresses are compared by, and how domains go into DNS and SMTP."""

from __future__ import annotations

import pytest

from hslpy.mail.address import Address, ascii_domain, ascii_lower, parse_address


@pytest.mark.parametrize("text", ["Éva@EXAMPLE.org", "ÀÞ", "straße"])
def test_lower_case_leaves_the_bytes_of_utf8_alone(text: str) -> None:
    held = text.encode().decode("latin-1")
    lowered = ascii_lower(held).encode("latin-1").decode()
    assert lowered == "".join(ch.lower() if ch.isascii() else ch for ch in text)


@pytest.mark.parametrize(
    ("domain", "label"), [("example.org", "example.org"), ("bücher.example", "xn--bcher-kva.example"), ("", "")]
)
def test_domains_in_a_labels(domain: str, label: str) -> None:
    assert ascii_domain(domain.encode().decode("latin-1")) == label


def test_what_is_no_utf8_stays() -> None:
    assert ascii_domain("\xff.example") == "\xff.example"


@pytest.mark.parametrize("local", ["plain", "a.b", "a b", 'say "hi"', "back\\slash", ".dot", "Gr\xc3\xbc\xc3\x9fe", "@"])
def test_an_address_reads_back_as_it_was(local: str) -> None:
    address = Address(local, "example.org")
    assert parse_address(str(address)) == address


def test_a_long_local_part_is_for_headers_only() -> None:
    long = "x" * 65 + "@example.org"
    assert parse_address(long) is None and parse_address(long, long_local_part=True) is not None
