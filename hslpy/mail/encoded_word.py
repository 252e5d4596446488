"""Encoded words in header values. In: text of one character a byte. Out: the same with words decoded to UTF-8, or encoded.

Never raises: what cannot be decoded stays as it is or shows U+FFFD. Source: RFC 2047.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from encodings import normalize_encoding
from encodings.aliases import aliases

_WORD = re.compile(r"=\?([A-Za-z0-9!#$%&'+\-^_`{}~.:]{1,40})(?:\*[^?\s]*)?\?([bBqQ])\?([!->@-~ ]*?)\?=")
_BLANK = " \t\r\n"
# Only charsets that are there are looked up: Python remembers each name it was ever asked for. Some have no alias.
_CODECS = frozenset({*aliases, *aliases.values(), "koi8_u", "koi8_t", "cp874"})
_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "utf_7"})
_READABLE = {code: chr(code) for code in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!*+-/"} | {32: "_"}
_CHUNK_QUOTED = 63
_CHUNK_BYTES = 45  # 60 characters of base64 and `=?UTF-8?B?...?=`: a word has at most 75 (RFC 2047 section 2)


def decode_words(text: str) -> str:
    """Give `text` as UTF-8 bytes held in a str, encoded words decoded. Words next to each other are joined."""
    if "=?" in text:
        text = "".join(decoded_parts(text))
    if text.isascii():
        return text
    return _as_utf8(text.encode("latin-1"))


def decoded_parts(text: str, *, strict: bool = False) -> Iterator[str]:
    """Give the text's parts with encoded words decoded; `strict` leaves those that cannot be as they are.

    Neighbours in one charset are decoded together, since a character may be split over them; the white space between
    two words is not shown (RFC 2047 section 6.2). Each word gives a part, though an empty one: the caller may pause.
    """
    group = bytearray()
    charset = ""
    start = end = 0  # of the group in the text
    for match in _WORD.finditer(text):
        data = _word_bytes(match[2], match[3])
        name = match[1].lower()
        if data is None or (strict and _codec(name) is None):
            continue
        between = text[end : match.start()]
        blank = not between.strip(_BLANK)
        if not (group and blank and name == charset):
            yield _shown(bytes(group), charset, text[start:end], strict)
            if not (group and blank):
                yield between
            group.clear()
            start = match.start()
        yield ""
        charset = name
        group += data
        end = match.end()
    yield _shown(bytes(group), charset, text[start:end], strict)
    yield text[end:]


def _word_bytes(encoding: str, text: str) -> bytes | None:
    if encoding in "qQ":
        return binascii.a2b_qp(text.replace("_", " ").encode("latin-1"), header=False)
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None


def _codec(charset: str) -> str | None:
    """Give Python's name of the charset, None where it has none, or one that is no charset (`rot13`)."""
    name = normalize_encoding(charset)
    if name not in _CODECS:
        return None
    name = aliases.get(name, name)
    if name in _NO_CHARSETS or not codecs.lookup(name)._is_text_encoding:
        return None
    return name


def _shown(data: bytes, charset: str, raw: str, strict: bool) -> str:
    """Give the bytes of neighbouring words as UTF-8; `raw` is how they were written."""
    if not data:
        return ""
    name = _codec(charset)
    try:
        if name is not None:
            return data.decode(name, "strict" if strict else "replace").encode("utf-8", "replace").decode("latin-1")
    except (LookupError, ValueError):
        pass
    return raw if strict else _as_utf8(data)


def to_utf8(data: bytes, charset: str) -> str:
    """Give bytes of a charset as UTF-8; of one that is not known as `decode_words` reads unmarked bytes."""
    return _shown(data, charset.lower(), "", strict=False)


def _as_utf8(data: bytes) -> str:
    """Bytes that are UTF-8 stay; others are read as Windows' Latin, which unmarked 8-bit headers mostly are."""
    try:
        data.decode("utf-8")
        return data.decode("latin-1")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace").encode("utf-8").decode("latin-1")


def encode_words(text: str) -> str:
    """Give `text` with the words that hold bytes above 127 as encoded words, in UTF-8."""
    if text.isascii():
        return text
    pieces = re.split(r"([ \t]+)", text)
    out: list[str] = []
    run: list[str] = []  # words to encode, with the spaces between them
    for i in range(0, len(pieces), 2):
        word, space = pieces[i], pieces[i - 1] if i else ""
        if word.isascii():
            if run:
                out.append(encode_text("".join(run)))
                run = []
            out.append(space + word)
        elif run:
            run.append(space + word)
        else:
            out.append(space)
            run.append(word)
    if run:
        out.append(encode_text("".join(run)))
    return "".join(out)


def encode_text(text: str, quoted: bool = False) -> str:
    """Give the whole text as encoded words in UTF-8, a space between them: base64, or `quoted`, where letters stay."""
    data = _as_utf8(text.encode("latin-1")).encode("latin-1").decode("utf-8")
    words: list[str] = []
    chunk, size = b"", 0
    for character in data:
        encoded = character.encode("utf-8")
        cost = len(_quoted(encoded)) if quoted else len(encoded)
        if size + cost > (_CHUNK_QUOTED if quoted else _CHUNK_BYTES):
            words.append(_q(chunk) if quoted else _b64(chunk))
            chunk, size = b"", 0
        chunk += encoded
        size += cost
    words.append(_q(chunk) if quoted else _b64(chunk))
    return " ".join(words)


def _q(data: bytes) -> str:
    return f"=?utf-8?Q?{_quoted(data)}?="


def _quoted(data: bytes) -> str:
    """Give the form that is good in phrases, too (RFC 2047 section 5, rule 3)."""
    return "".join([_READABLE.get(byte) or f"={byte:02X}" for byte in data])


def _b64(data: bytes) -> str:
    return "=?UTF-8?B?" + binascii.b2a_base64(data, newline=False).decode("ascii") + "?="
