"""The framing of DATA. In: bytes as they came from the peer. Out: where the message ends, and whether its lines are sound.

Plain functions, no I/O. Each is a handful of C-speed scans over the whole message, never a step a line.
Source: RFC 5321 sections 2.3.8 and 4.5.2; bare CR and LF are what SMTP smuggling lives on.
"""

from __future__ import annotations

import re

from hslpy.mail.transfer import has_bare

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
    found = buffer.find(END, max(0, seen - len(END) + 1))
    return found + 2 if found >= 0 else -1


class LineEnds:
    """Looks for bare CR and LF in a message while it comes in, so that a large one is never looked through at a stretch."""

    __slots__ = ("_bare", "_upto")

    def __init__(self) -> None:
        self._bare = False
        self._upto = 0

    def arrived(self, buffer: bytearray) -> None:
        """Look at all but the last bytes, which may yet turn out to be the end of the message."""
        self._look(buffer, len(buffer) - len(END))

    def ended(self, buffer: bytearray, end: int) -> bool:
        """Look up to `end`, and say whether a CR stands without its LF anywhere, or an LF without its CR."""
        self._look(buffer, end)
        return self._bare or (end > self._upto)  # what is left is a CR, and the message ends with it

    def _look(self, buffer: bytearray, end: int) -> None:
        start = self._upto
        if end > start and buffer[end - 1] == 0x0D:  # its LF may lie beyond
            end -= 1
        if end > start:
            part = buffer if start == 0 and end == len(buffer) else buffer[start:end]
            self._bare = self._bare or has_bare(part)
            self._upto = end


def unstuff(content: bytes) -> bytes:
    """Take away the transparency dots: the first dot of each line that begins with one. The line ends are sound."""
    content = content.replace(b"\r\n.", b"\r\n")  # the same object where there is none
    return content[1:] if content[:1] == b"." else content


def split_header(content: bytes, most: int) -> tuple[bytes, bytes] | None:
    """Give header and body, or None for a header over `most` bytes; no line is longer than `most`.

    The header ends with the empty line, which is put in where the message has none, and at the first line that is neither
    a field nor a continuation, so that text sent without a header cannot become part of ours.
    """
    # Matching takes 370 bytes of memory a field. A header that is not over at `2 * most` matches up to its last whole line.
    found = _HEADER(content, 0, 2 * most)
    end = found.end() if found is not None else 0
    if end > most:
        return None
    if content.startswith(b"\r\n", end):
        return content[: end + 2], content[end + 2 :]
    return content[:end] + b"\r\n", content[end:]


def count_received(header: bytes) -> int:
    """Give how many Received fields the header has."""
    lowered = header.lower()
    return lowered.count(b"\nreceived:") + lowered.startswith(b"received:")
