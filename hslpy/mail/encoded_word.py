"""Encoded words in header values. In: text of one character a byte. Out: the same with words decoded to UTF-8, or encoded.

Never raises: what cannot be decoded stays as it is or shows U+FFFD. Source: RFC 2047.
"""

from __future__ import annotations

import binascii
import codecs
import re

_WORD = re.compile(r"=\?([A-Za-z0-9!#$%&'+\-^_`{}~.:]{1,40})(?:\*[^?\s]*)?\?([bBqQ])\?([!->@-~ ]*?)\?=")
_BETWEEN = re.compile(r"(\?=)[ \t]+(?==\?)")
_TEXT_CHARSETS_REFUSED = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
_CHUNK_BYTES = 45  # 60 characters of base64 and `=?UTF-8?B?...?=`: a word has at most 75 (RFC 2047 section 2)


def decode_words(text: str) -> str:
    """Give `text` as UTF-8 bytes held in a str, encoded words decoded. Words next to each other are joined."""
    if "=?" in text:
        text = _decode_all(_BETWEEN.sub(r"\1", text))
    if text.isascii():
        return text
    return _as_utf8(text.encode("latin-1"))


def _decode_all(text: str) -> str:
    parts: list[str] = []
    pending = bytearray()  # bytes of neighbouring words in one charset: a character may be split over them
    charset = ""
    end = 0
    for match in _WORD.finditer(text):
        data = _word_bytes(match[2], match[3])
        if data is None:
            continue
        if pending and (match.start() != end or match[1].lower() != charset):
            parts.append(_to_utf8(bytes(pending), charset))
            pending.clear()
        parts.append(text[end : match.start()])
        charset = match[1].lower()
        pending += data
        end = match.end()
    if pending:
        parts.append(_to_utf8(bytes(pending), charset))
    parts.append(text[end:])
    return "".join(parts)


def _word_bytes(encoding: str, text: str) -> bytes | None:
    if encoding in "qQ":
        return binascii.a2b_qp(text.replace("_", " ").encode("latin-1"), header=False)
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None


def _to_utf8(data: bytes, charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
        if name in _TEXT_CHARSETS_REFUSED:
            raise LookupError(name)
        decoded = data.decode(name, "replace")
    except (LookupError, ValueError):
        return _as_utf8(data)
    return decoded.encode("utf-8", "replace").decode("latin-1")


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
                out.append(_encode("".join(run)))
                run = []
            out.append(space + word)
        elif run:
            run.append(space + word)
        else:
            out.append(space)
            run.append(word)
    if run:
        out.append(_encode("".join(run)))
    return "".join(out)


def _encode(text: str) -> str:
    data = _as_utf8(text.encode("latin-1")).encode("latin-1").decode("utf-8")
    words: list[str] = []
    chunk = b""
    for character in data:
        encoded = character.encode("utf-8")
        if len(chunk) + len(encoded) > _CHUNK_BYTES:
            words.append(_b64(chunk))
            chunk = b""
        chunk += encoded
    words.append(_b64(chunk))
    return " ".join(words)


def _b64(data: bytes) -> str:
    return "=?UTF-8?B?" + binascii.b2a_base64(data, newline=False).decode("ascii") + "?="
