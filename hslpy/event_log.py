"""The log as lines of text: one an event, for people or for machines. In: events with fields. Out: lines to a stream.

Lines are gathered for one turn of the event loop and written together, errors at once: a write a line was a tenth of what
accepting a message costs. Records of the `logging` module, which libraries make, go the same way, so that nothing changes
places.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import select
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TextIO

from hslpy.clock import Clock

_LEVELS: dict[object, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class EventLog:
    """Writes to `stream` what is at least of `level`. `close` writes what is still held; so does the end of the process."""

    def __init__(self, stream: TextIO, level: str, log_format: str, clock: Clock, **always: object) -> None:
        """`always` are fields that each line has, those of one of several processes that share the stream."""
        self.least = _LEVELS[level]
        self._always = always
        self._stream = stream
        self._clock = clock
        self._line = _json_line if log_format == "json" else _text_line
        self._lines: list[str] = []
        self._due = False
        atexit.register(self.close)

    def write(self, event: str, fields: Mapping[str, object]) -> None:
        """Write one event now; `fields` may name its own `level`."""
        level = fields.get("level", "info")
        if _LEVELS[level] >= self.least:
            self.put(str(level), self.line(self._clock.time(), str(level), event, fields))

    def line(self, now: float, level: str, event: str, fields: Mapping[str, object]) -> str:
        """Give the line of an event."""
        return self._line(now, level, event, {**self._always, **fields} if self._always else fields)

    def put(self, level: str, line: str) -> None:
        """Write a line already made."""
        self._lines.append(line)
        if level in ("error", "critical"):
            self.close()
        elif not self._due:
            try:
                asyncio.get_running_loop().call_soon(self.close)
                self._due = True
            except RuntimeError:  # no loop runs in this thread
                self.close()

    def close(self) -> None:
        """Write all that is held."""
        self._due = False
        lines, self._lines = self._lines, []
        if lines:
            with suppress(OSError, ValueError):  # nobody reads the log any more: mail goes on
                if self._always:
                    _write_whole(self._stream.fileno(), lines)
                else:
                    self._stream.write("\n".join(lines) + "\n")
                    self._stream.flush()


def _write_whole(descriptor: int, lines: Sequence[str]) -> None:
    """Write lines so that those of several processes stay apart: whole ones together, as many as a pipe takes at once.

    Only a line that is longer than that may be cut into by another's.
    """
    chunk = b""
    for line in lines:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if chunk and len(chunk) + len(data) > select.PIPE_BUF:
            _write_all(descriptor, chunk)
            chunk = b""
        chunk += data
    _write_all(descriptor, chunk)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


class LogHandler(logging.Handler):
    """Takes the records of the `logging` module, which are other people's code's, to an EventLog."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(log.least)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        fields: dict[str, object] = {"logger": record.name, "text": record.getMessage()}
        if record.exc_info:
            fields["exception"] = logging.Formatter().formatException(record.exc_info)
        self._log.put(level, self._log.line(record.created, level, "python.log", fields))


def set_up_logging(stream: TextIO, level: str, log_format: str, clock: Clock, **always: object) -> EventLog:
    """Give the log of a process, to which warnings and errors of libraries and of the event loop go too."""
    log = EventLog(stream, level, log_format, clock, **always)
    root = logging.getLogger()
    root.handlers = [*(each for each in root.handlers if not isinstance(each, LogHandler)), LogHandler(log)]

    def note(unraisable: sys.UnraisableHookArgs) -> None:
        # Of bytes alone: ssl, for a client that asks for a server name which is not ASCII.
        level = "debug" if isinstance(unraisable.object, bytes) else "error"
        text = "".join(traceback.format_exception(unraisable.exc_value)) if unraisable.exc_value is not None else ""
        fields = {"level": level, "error": repr(unraisable.exc_value), "in": repr(unraisable.object), "text": text}
        log.write("python.unraisable", fields)

    sys.unraisablehook = note
    return log


class _Second:
    """The date text of the second that was asked for last."""

    at = -1
    text = ""


def _date(now: float) -> str:
    if int(now) != _Second.at:
        _Second.at = int(now)
        _Second.text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_Second.at))
    return _Second.text


def _text_line(now: float, level: str, event: str, fields: Mapping[str, object]) -> str:
    """Give `time level event key=value ...`; a value with blanks is quoted, one with line ends goes below, indented."""
    parts = [_date(now), level, event]
    below = []
    texts = [value if value.__class__ is str else str(value) for value in fields.values()]
    together = "".join(texts)
    plain = together.isascii() and together.isprintable() and '"' not in together and "\\" not in together
    for key, text in zip(fields, texts, strict=True):
        if key == "level":
            continue
        if plain:  # as nearly all are: a third less time than with each looked at
            parts.append(f'{key}="{text}"' if " " in text else f"{key}={text}")
            continue
        if not text.isascii():
            text = _shown(text)
        if text.isprintable() and " " not in text and '"' not in text:
            parts.append(f"{key}={text}")
        elif "\n" in text:
            below += [f"\n    {_printable(line)}" for line in text.splitlines()]
        else:
            parts.append(f"{key}={json.dumps(text)}")
    return " ".join(parts) + "".join(below)


def _printable(line: str) -> str:
    return line if line.isprintable() else "".join(ch if ch.isprintable() or ch == "\t" else "?" for ch in line)


def _json_line(now: float, level: str, event: str, fields: Mapping[str, object]) -> str:
    line = json.dumps({"time": now, "level": level, "event": event, **fields}, default=str)
    if "\\u00" in line:
        kept = (int, float, bool, type(None), list, tuple, Mapping)
        shown = {key: value if isinstance(value, kept) else _shown(str(value)) for key, value in fields.items()}
        line = json.dumps({"time": now, "level": level, "event": event, **shown}, default=str)
    return line


def _shown(text: str) -> str:
    """Give text of a character a byte, as mail and scripts have it, as the UTF-8 that it spells; other text as it is."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
