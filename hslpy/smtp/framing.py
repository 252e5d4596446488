"""The framing of DATA. In: bytes as they came from the peer. Out: where the message ends, and whether its lines are sound.

Plain functions, no I/O. Each is a handful of C-speed scans over the whole message, never a step a line.
Source: RFC 5321 sections 2.3.8 and 4.5.2; bare CR and LF are what SMTP smuggling lives on.
"""

from __future__ import annotations

import re

END = b"\r\n.\r\n"
END_SKIP = 3  # the length of `.CRLF`, which follows the content's own last CRLF

# Header fields with their continuation lines (RFC 5322 section 2.2; a blank before the colon is obsolete syntax, 4.5).
_HEADER = re.compile(rb"(?:[!-9;-~]+[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*").match


def find_end(buffer: bytearray, seen: int, fresh: bool) -> int:
    """Give the length of the content, its last CRLF included and the lone dot not, or -1 while it is not all there.

    `seen` bytes were searched before. `fresh` says that the buffer's first byte is the first byte after DATA.
    """
    if fresh and buffer.startswith(b".\r\n"):
        return 0
    at = buffer.find(END, max(0, seen - len(END) + 1))
    return at + 2 if at >= 0 else -1


def has_bare_line_end(content: bytes) -> bool:
    """Say whether a CR stands without its LF, or an LF without its CR."""
    pairs = content.count(b"\r\n")
    return content.count(b"\n") != pairs or content.count(b"\r") != pairs


def unstuff(content: bytes) -> bytes:
    """Take away the transparency dots: the first dot of each line that begins with one."""
    if b"\r\n." in content:
        content = content.replace(b"\r\n.", b"\r\n")
    return content[1:] if content[:1] == b"." else content


def has_long_line(content: bytes, limit: int) -> bool:
    """Say whether a line is longer than `limit` bytes, its CRLF included. Looks at about one place every `limit` bytes."""
    start, size = 0, len(content)
    while size - start > limit:
        end = content.rfind(b"\n", start, start + limit)
        if end < 0:
            return True
        start = end + 1
    return False


def split_header(content: bytes) -> tuple[bytes, bytes]:
    """Give header and body; the header ends with the empty line, which is put in where the message has none.

    The header ends at the first line that is neither a field nor a continuation, so that text sent without a header
    cannot become part of ours.
    """
    found = _HEADER(content)
    end = found.end() if found is not None else 0
    if content.startswith(b"\r\n", end):
        return content[: end + 2], content[end + 2 :]
    return content[:end] + b"\r\n", content[end:]


def count_received(header: bytes) -> int:
    """Give how many Received fields the header has."""
    lowered = header.lower()
    return lowered.count(b"\nreceived:") + lowered.startswith(b"received:")
