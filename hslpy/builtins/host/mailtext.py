"""The texts of mail that are grammar alone: addresses and lists of them, tags, encoded words, xtext. In and out: values.

The grammars of addresses, encoded words and xtext are `mail`'s. What is malformed gives none. Source: RFC 5322, 6376.
"""

from __future__ import annotations

import re

from hslpy.builtins.core.arguments import in_stretches, read_options
from hslpy.builtins.core.encodings import unescaped
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import Growth, TextBuilder, array_of
from hslpy.lang.run import Run
from hslpy.lang.values import Array
from hslpy.mail import xtext
from hslpy.mail.address import Address, parse_address
from hslpy.mail.dkim import tag_list
from hslpy.mail.encoded_word import decoded_parts, encode_text

TOPIC = Topic("mail texts")

MOST_CHARACTERS = 1 << 20  # of a header value that is taken apart
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_TOKEN = re.compile(r'\s+|"(?:[^"\\]|\\.)*"|\[[^\[\]\\]*\]|[()<>@,;:]|[^\s()<>@,;:"\[\]]+|.', re.DOTALL)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


@TOPIC.builtin(
    "envelope_address_parse(address: string) -> array | none",
    effect=Effect.PURE,
    examples=[
        'envelope_address_parse("user@example.com")  // ["localpart" => "user", "domain" => "example.com"]',
        'envelope_address_parse("nonsense")  // none',
    ],
)
def envelope_address_parse(address: str) -> Array | None:
    """Give an envelope address as `localpart`, without quotes and escapes, and `domain`; none when it is no address."""
    found = parse_address(address)
    if found is None or (address and not found.domain):
        return None
    return Array.mapping({"localpart": found.local_part, "domain": found.domain})


@TOPIC.builtin(
    "envelope_localpart_escape(localpart: string) -> string",
    effect=Effect.PURE,
    examples=['envelope_localpart_escape("a b")  // "\\"a b\\""', 'envelope_localpart_escape("a.b")  // "a.b"'],
)
def envelope_localpart_escape(localpart: str) -> str:
    """Give a local part as it stands in an address: in quotes where it must."""
    if len(localpart) > MOST_CHARACTERS:
        raise ScriptError("R108", "envelope_localpart_escape() wants `localpart` shorter than a megabyte")
    return str(Address(localpart, ""))


def _header_value(value: str, field: bool) -> str | None:
    """Give the value, without the name where it is a whole field."""
    if len(value) > MOST_CHARACTERS:
        return None
    if not field:
        return value
    name, colon, rest = value.partition(":")
    return rest if colon and re.fullmatch(r"[!-9;-~]+[ \t]*", name) else None


@TOPIC.builtin(
    "header_addresslist_extract(value: string, [options: array]) -> array | none",
    effect=Effect.PURE,
    examples=[
        'header_addresslist_extract("Charlie <c@example.org>, j@example.com")  // ["c@example.org", "j@example.com"]',
        'header_addresslist_extract("A B <a@b.c>", ["name" => true])  // [["name" => "A B", "address" => "a@b.c"]]',
        'header_addresslist_extract("<a@b")  // none',
    ],
)
def header_addresslist_extract(call: Run, value: str, options: Array | None = None) -> Array | None:
    """Give the addresses of a From, To or Cc value, members of groups included; none when it is malformed.

    Options: `field` (false), the value is a whole header field; `name` or
    `names` (false), give arrays with `name` and `address`.
    """
    chosen = read_options("header_addresslist_extract", options, {"field": False, "name": False, "names": False})
    text = _header_value(value, chosen["field"])
    pairs = None if text is None else header_addresses(call, text)
    if pairs is None:
        return None
    if chosen["name"] or chosen["names"]:
        return array_of(call, [Array.mapping({"name": name, "address": address}) for name, address in pairs])
    return array_of(call, [address for _, address in pairs])


def header_addresses(call: Run, text: str) -> list[tuple[str, str]] | None:
    """Give the (name, address) pairs of an address list, or None."""
    found: list[tuple[str, str]] = []
    growth = Growth(call)
    words: list[str] = []  # before a "<", or the address itself; a space stands for white space
    inside: list[str] | None = None  # between "<" and ">"
    angle: str | None = None
    comments = 0
    for count, token in enumerate((match[0] for match in _TOKEN.finditer(text)), 1):
        if count & 255 == 0:
            call.charge(128)
        if token == "(" or (comments and token == ")"):
            comments += 1 if token == "(" else -1
        elif comments:
            continue
        elif token.isspace():
            (words if inside is None else inside).append(" ")
        elif token == "<":
            if inside is not None or angle is not None:
                return None
            inside = []
        elif token == ">":
            if inside is None:
                return None
            angle, inside = "".join(inside).replace(" ", ""), None
        elif inside is not None:
            inside.append(token)
        elif token in ",;":
            if not _end_address(words, angle, found):
                return None
            growth.add(300)
            words, angle = [], None
        elif token == ":":  # what came was a group's name
            if angle is not None:
                return None
            words = []
        else:
            words.append(token)
    if comments or inside is not None or not _end_address(words, angle, found):
        return None
    return found


def _end_address(words: list[str], angle: str | None, found: list[tuple[str, str]]) -> bool:
    """Note an address that ends here, and say whether it is well-formed."""
    text = "".join(words).strip(" ")
    if angle is None:
        address, name = text.replace(" ", ""), ""
        if not address:
            return True
    else:
        address, name = angle.rpartition(":")[2] if angle.startswith("@") else angle, text
    parsed = parse_address(address, long_local_part=True)
    if parsed is None or not parsed.domain:
        return False
    plain = re.sub(r'"((?:[^"\\]|\\.)*)"', lambda quoted: _unescape(quoted[1]), name)
    found.append((re.sub(" +", " ", plain), address))
    return True


@TOPIC.builtin(
    "header_addresslist_compile(addresses: array) -> string",
    effect=Effect.PURE,
    examples=[
        'header_addresslist_compile([["name" => "A, B", "address" => "a@b.c"], "d@e.f"])  // "\\"A, B\\" <a@b.c>, d@e.f"'
    ],
)
def header_addresslist_compile(call: Run, addresses: Array) -> str:
    """Give a list of addresses, or of arrays with `name` and `address`, as a header value."""
    parts = []
    for entry in addresses.items.values():
        name, address = "", entry
        if entry.__class__ is Array:
            name, address = entry.items.get("name") or "", entry.items.get("address")
        if address.__class__ is not str or name.__class__ is not str:
            raise ScriptError("R108", "header_addresslist_compile() wants strings, or arrays with `name` and `address`")
        if any(mark in name + address for mark in "\r\n"):
            raise ScriptError("R108", "header_addresslist_compile() wants names and addresses without line ends")
        parts.append(f"{_phrase(name)} <{address}>" if name else address)
        call.charge(2)
    return ", ".join(parts)


def _phrase(name: str) -> str:
    if not name.isascii():
        return encode_text(name)
    if re.fullmatch(rf"{_ATEXT}+(?: {_ATEXT}+)*", name):
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


@TOPIC.builtin(
    "header_dkim_decode(value: string, [options: array]) -> array | none",
    effect=Effect.PURE,
    examples=[
        'header_dkim_decode("v=1; d=example.org; s=x")  // ["d" => "example.org", "s" => "x", "v" => "1"]',
        'header_dkim_decode("nonsense")  // none',
    ],
)
def header_dkim_decode(value: str, options: Array | None = None) -> Array | None:
    """Give the tags of a DKIM-style list (RFC 6376 section 3.2), sorted by name; none when it is malformed.

    Option `field` (false): the value is a whole header field.
    """
    text = _header_value(value, read_options("header_dkim_decode", options, {"field": False})["field"])
    if text is None:
        return None
    tags = tag_list(text)
    return Array.mapping(dict(sorted(tags.items()))) if tags else None


@TOPIC.builtin(
    "mimeword_encode(string: string) -> string",
    effect=Effect.PURE,
    examples=[
        'mimeword_encode("\\xc3\\xa5 b")  // "=?utf-8?Q?=C3=A5_b?="',
        'mimeword_encode("plain")  // "=?utf-8?Q?plain?="',
    ],
)
def mimeword_encode(call: Run, string: str) -> str:
    """Give a text as encoded words (RFC 2047), each with at most 75 characters; an empty one stays empty."""
    if not string:
        return string
    if len(string) > MOST_CHARACTERS:
        raise ScriptError("R108", "mimeword_encode() wants `string` shorter than a megabyte")
    call.charge(len(string) >> 1)
    call.reserve(len(string) * 4)
    return encode_text(string, quoted=True)


@TOPIC.builtin(
    "mimeword_decode(string: string) -> string",
    effect=Effect.PURE,
    examples=['mimeword_decode("=?ISO-8859-1?Q?=E5_b?= c")  // "\\xc3\\xa5 b c"', 'mimeword_decode("plain")  // "plain"'],
)
def mimeword_decode(call: Run, string: str) -> str:
    """Give a header value with its encoded words (RFC 2047) as UTF-8; what cannot be decoded stays as it is."""
    if "=?" not in string or len(string) > MOST_CHARACTERS:
        return string
    result = TextBuilder(call)
    for part in decoded_parts(string, strict=True):
        result.add(part)
        call.charge(2)
    return result.text()


@TOPIC.builtin(
    "xtext_encode(text: string) -> string", effect=Effect.PURE, examples=['xtext_encode("a+b=c")  // "a+2Bb+3Dc"']
)
def xtext_encode(call: Run, text: str) -> str:
    """Encode as xtext, for ORCPT and ENVID (RFC 3461 section 4)."""
    call.reserve(len(text) * 3)
    return in_stretches(call, text, xtext.encode, 4096)


@TOPIC.builtin("xtext_decode(text: string) -> string", effect=Effect.PURE, examples=['xtext_decode("a+2Bb")  // "a+b"'])
def xtext_decode(call: Run, text: str) -> str:
    """Decode xtext; a `+` that begins no escape stays as it is."""
    return unescaped(call, text, "+", xtext.ESCAPE)
