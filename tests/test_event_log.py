"""The log's lines, for people and for machines."""

from __future__ import annotations

import asyncio
import io
import json
import logging

from hslpy.clock import ManualClock
from hslpy.event_log import EventLog, set_up_logging
from hslpy.mail.address import Address


def lines_of(log_format: str, *events: tuple[str, dict[str, object]]) -> list[str]:
    stream = io.StringIO()
    log = EventLog(stream, "info", log_format, ManualClock())
    for event, fields in events:
        log.write(event, fields)
    return stream.getvalue().splitlines()


def test_a_line_for_people_quotes_blanks_and_puts_long_texts_below() -> None:
    first, second, third = lines_of("text", ("a.b", {"x": 1, "y": "two words", "level": "warning", "z": "one\ntwo\x1b"}))
    assert first.endswith(' warning a.b x=1 y="two words"')
    assert (second, third) == ("    one", "    two?")


def test_control_characters_of_a_peer_do_not_reach_the_terminal() -> None:
    (line,) = lines_of("text", ("a.b", {"reply": "\x1b[31mred"}))
    assert "\x1b" not in line


def test_a_line_for_machines_is_json() -> None:
    (line,) = lines_of("json", ("a.b", {"x": 1, "y": "two words"}))
    assert json.loads(line) == {"time": 1_700_000_000.0, "level": "info", "event": "a.b", "x": 1, "y": "two words"}


def test_addresses_beyond_ascii_are_shown_as_they_are_written() -> None:
    as_bytes = "å@x.test".encode().decode("latin-1")
    fields: dict[str, object] = {"sender": as_bytes, "recipient": Address("a", as_bytes), "other": "\xe5", "number": 1}
    (line,) = lines_of("text", ("a.b", fields))
    assert line.endswith(" sender=å@x.test recipient=a@å@x.test other=\xe5 number=1")
    (line,) = lines_of("json", ("a.b", fields))
    found = json.loads(line)
    assert (found["sender"], found["recipient"]) == ("å@x.test", "a@å@x.test")
    assert (found["other"], found["number"]) == ("\xe5", 1)


def test_what_is_below_the_level_is_left_out() -> None:
    assert lines_of("text", ("a.b", {"level": "debug"})) == []


def test_lines_of_one_turn_are_written_together_and_errors_at_once() -> None:
    stream = io.StringIO()

    async def main() -> None:
        log = EventLog(stream, "info", "text", ManualClock())
        log.write("a.b", {})
        assert stream.getvalue() == ""
        log.write("c.d", {"level": "error"})
        assert len(stream.getvalue().splitlines()) == 2
        log.write("e.f", {})
        await asyncio.sleep(0)
        assert len(stream.getvalue().splitlines()) == 3

    asyncio.run(main())


def test_records_of_the_logging_module_go_the_same_way() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        set_up_logging(io.StringIO(), "info", "text", ManualClock())
        set_up_logging(stream, "info", "text", ManualClock())
        logging.getLogger("asyncio").error("a fault")
        logging.getLogger("asyncio").debug("not this")
    finally:
        root.handlers = before
    assert stream.getvalue().endswith(' error python.log logger=asyncio text="a fault"\n')
    assert stream.getvalue().count("\n") == 1


def test_mail_goes_on_where_nobody_reads_the_log_any_more() -> None:
    stream = io.StringIO()
    log = EventLog(stream, "info", "text", ManualClock())
    stream.close()
    log.write("hooks.script_error", {"level": "error"})
