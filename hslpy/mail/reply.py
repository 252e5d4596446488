"""SMTP replies. In: code, enhanced status and lines. Out: `Reply` and its bytes. Source: RFC 5321 4.2, RFC 2034."""

from __future__ import annotations

from hslpy.records import record

Enhanced = tuple[int, int, int]


@record
class Reply:
    """What one side says: `code`, `enhanced` status where there is one, and the text lines without codes (latin-1)."""

    code: int
    enhanced: Enhanced | None
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    def render(self) -> bytes:
        """Give the reply as sent, CRLF at each line's end; control and 8-bit characters are replaced by `?`."""
        prefix = f"{self.enhanced[0]}.{self.enhanced[1]}.{self.enhanced[2]} " if self.enhanced else ""
        lines = self.lines or ("",)
        last = len(lines) - 1
        text = ""
        for i, line in enumerate(lines):
            text += f"{self.code}{'-' if i < last else ' '}{prefix}{_clean(line)}".rstrip(" ") + "\r\n"
        return text.encode("ascii")

    def __str__(self) -> str:
        prefix = "{}.{}.{} ".format(*self.enhanced) if self.enhanced else ""
        return f"{self.code} {prefix}{self.text}"


def _clean(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    return "".join(ch if " " <= ch <= "~" else "?" for ch in line)
