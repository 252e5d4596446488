"""The texts of mail that are grammar alone: addresses, address lists, tag lists, encoded words. In: strings. Out: values.

Nothing here knows a message. What is malformed gives none. Source: RFC 5321, 5322, 6376, 2047.
"""

from __future__ import annotations

import base64
import binascii
import re

from hslpy.builtins.core.arguments import as_text, from_utf8, read_options, to_utf8
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import Growth, TextBuilder, array_of
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value

TOPIC = Topic("mail texts")

MOST_CHARACTERS = 1 << 20  # of a header value that is taken apart
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_DOT_ATOM = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_QUOTED = re.compile(r'"((?:[^"\\\r\n\x00]|\\[^\r\n\x00])*)"')
_DOMAIN = re.compile(
    r"[A-Za-z0-9\x80-\xff_](?:[A-Za-z0-9\x80-\xff_-]*[A-Za-z0-9\x80-\xff_])?(?:\.[A-Za-z0-9\x80-\xff_-]+)*\.?|\[[^\[\]\\\s]+\]"
)
_TOKEN = re.compile(r'\s+|"(?:[^"\\]|\\.)*"|\[[^\[\]\\]*\]|[()<>@,;:]|[^\s()<>@,;:"\[\]]+|.', re.DOTALL)
_WORD = re.compile(r"=\?([A-Za-z0-9_.:-]{1,40})(?:\*[A-Za-z0-9-]*)?\?([bBqQ])\?([^?\s]*)\?=")
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WORD_BYTES = 45  # of UTF-8 in an encoded word, 60 characters of base64: RFC 2047 section 2 allows 75 in all


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
    if len(address) > 1000:
        return None
    if address == "":
        return Array.mapping({"localpart": "", "domain": ""})
    quoted = _QUOTED.match(address)
    local = quoted or _DOT_ATOM.match(address)
    if local is None or address[local.end() : local.end() + 1] != "@":
        return None
    domain = address[local.end() + 1 :]
    if not _DOMAIN.fullmatch(domain):
        return None
    return Array.mapping({"localpart": _unescape(quoted[1]) if quoted else local[0], "domain": domain})


@TOPIC.builtin(
    "envelope_localpart_escape(localpart: string) -> string",
    effect=Effect.PURE,
    examples=['envelope_localpart_escape("a b")  // "\\"a b\\""', 'envelope_localpart_escape("a.b")  // "a.b"'],
)
def envelope_localpart_escape(localpart: str) -> str:
    """Give a local part as it stands in an address: in quotes where it must."""
    if len(localpart) > MOST_CHARACTERS:
        raise ScriptError("R108", "envelope_localpart_escape() wants `localpart` shorter than a megabyte")
    if not localpart or _DOT_ATOM.fullmatch(localpart):
        return localpart
    return '"' + re.sub(r'(["\\])', r"\\\1", localpart) + '"'


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
        'header_addresslist_extract("A B <a@b.c>", ["names" => true])  // [["name" => "A B", "address" => "a@b.c"]]',
        'header_addresslist_extract("<a@b")  // none',
    ],
)
def header_addresslist_extract(call: Run, value: str, options: Array | None = None) -> Array | None:
    """Give the addresses of a From, To or Cc value, members of groups included; none when it is malformed.

    Options: `field` (false), the value is a whole header field; `names` (false), give arrays with `name` and `address`.
    """
    chosen = read_options("header_addresslist_extract", options, {"field": False, "names": False})
    text = _header_value(value, chosen["field"])
    pairs = None if text is None else _addresses(call, text)
    if pairs is None:
        return None
    if chosen["names"]:
        return array_of(call, [Array.mapping({"name": name, "address": address}) for name, address in pairs])
    return array_of(call, [address for _, address in pairs])


def _addresses(call: Run, text: str) -> list[tuple[str, str]] | None:
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
    at = address.rfind("@")
    local, domain = address[:at], address[at + 1 :]
    if at < 1 or not (_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local)) or not _DOMAIN.fullmatch(domain):
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
        return _encoded_words(name)
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
    tags: dict[str, Value] = {}
    parts = text.split(";")
    if not parts[-1].strip(" \t\r\n"):
        parts.pop()
    for part in parts:
        name, equals, content = part.partition("=")
        name = name.strip(" \t\r\n")
        if not equals or not _TAG.fullmatch(name) or name in tags:
            return None
        tags[name] = re.sub(r"\r?\n(?=[ \t])", "", content).strip(" \t\r\n")
    return Array.mapping(dict(sorted(tags.items()))) if tags else None


def _encoded_words(text: str) -> str:
    """Give a text of UTF-8 as encoded words, a space between them."""
    decoded = from_utf8(text)
    charset = "UTF-8" if decoded is not None else "ISO-8859-1"
    words: list[str] = []
    current = b""
    for letter in text if decoded is None else decoded:
        data = letter.encode("latin-1" if decoded is None else "utf-8")
        if len(current) + len(data) > _WORD_BYTES:
            words.append(f"=?{charset}?B?{as_text(base64.b64encode(current))}?=")
            current = b""
        current += data
    words.append(f"=?{charset}?B?{as_text(base64.b64encode(current))}?=")
    return " ".join(words)


@TOPIC.builtin(
    "mimeword_encode(string: string) -> string",
    effect=Effect.PURE,
    examples=['mimeword_encode("\\xc3\\xa5")  // "=?UTF-8?B?w6U=?="', 'mimeword_encode("plain")  // "plain"'],
)
def mimeword_encode(call: Run, string: str) -> str:
    """Give a text as encoded words (RFC 2047), or as it is where it is ASCII."""
    if string.isascii():
        return string
    if len(string) > MOST_CHARACTERS:
        raise ScriptError("R108", "mimeword_encode() wants `string` shorter than a megabyte")
    call.charge(len(string) >> 2)
    call.reserve(len(string) * 3)
    return _encoded_words(string)


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
    position = 0
    after_word = False
    for found in _WORD.finditer(string):
        between = string[position : found.start()]
        word = _decoded_word(found)
        is_word = word is not None
        # White space between two encoded words is not shown: RFC 2047 section 6.2.
        if not (after_word and is_word and not between.strip(" \t\r\n")):
            result.add(between)
        result.add(found[0] if word is None else word)
        call.charge(2)
        position = found.end()
        after_word = is_word
    result.add(string[position:])
    return result.text()


def _decoded_word(found: re.Match[str]) -> str | None:
    """Give what an encoded word says, as UTF-8, or None when it cannot be decoded."""
    charset, encoding, text = found[1], found[2], found[3]
    try:
        if encoding in "bB":
            data = base64.b64decode(text + "=" * (-len(text) % 4))
        else:
            data = binascii.a2b_qp(text, header=True)
        if charset.lower() in ("utf-8", "us-ascii", "utf8"):
            data.decode("utf-8")
            return as_text(data)
        if charset.lower() not in _CHARSETS and not re.fullmatch(
            r"(?:iso-8859|windows|cp|koi8)-?[0-9a-z]{1,5}", charset.lower()
        ):
            return None
        return to_utf8(data.decode(charset))
    except (ValueError, LookupError):
        return None


# Multi-byte ones that mail uses; Python's codecs also take names that are no charsets, so they are named.
_CHARSETS = frozenset(
    (
        "big5",
        "euc-jp",
        "euc-kr",
        "gb18030",
        "gb2312",
        "gbk",
        "iso-2022-jp",
        "ks_c_5601-1987",
        "shift_jis",
        "tis-620",
        "utf-16",
    )
)
