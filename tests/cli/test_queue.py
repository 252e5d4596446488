"""`hslpy queue` as text: what clients and peers said in it, and what it says of workers that could not be asked."""

from __future__ import annotations

from typing import Any

from hslpy.cli.queue import _list, _show

ROW: dict[str, Any] = {
    "queue_id": 1,
    "state": "waiting",
    "due_at": 0.0,
    "retries": 1,
    "size_bytes": 9,
    "sender": "a@example.com",
    "recipient": "é\u202e@example.net",
    "last_error": "451 \x1b]0;x\x07\x9b31m\r\n       2  held",
}


def answer(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"recipients": rows, "total": len(rows), "matching": len(rows), "set_aside": [], **more}


def test_no_text_of_others_reaches_the_terminal_raw() -> None:
    for text in (_list(answer(ROW)), _show({"recipients": [ROW], "content": "a\x1b[1m\tb\nc"})):
        assert all(ch.isprintable() or ch in "\n\t" for ch in text)
        assert "é?@example.net" in text
        assert "?  held" in text.replace("       2", ""), "a reply makes no further line"
    assert _show({"recipients": [], "content": "a\x1b[1m\tb\nc"}) == "a?[1m\tb\nc"


def test_a_queue_is_not_called_empty_while_workers_are_missing() -> None:
    assert _list(answer()) == "the queue is empty"
    missing = [{"worker": 1, "why": "it is not running"}]
    assert _list(answer(missing=missing)) == "the queue is empty, as far as could be asked"
