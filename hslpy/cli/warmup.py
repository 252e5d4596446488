"""`hslpy ip warmup`: addresses that are warmed up."""

from __future__ import annotations

import argparse
from typing import Any

from hslpy.cli.admin import quoted
from hslpy.cli.orders import Order, answer, nothing
from hslpy.cli.output import line, table
from hslpy.cli.reach import Api

_COLUMNS = ("address", "badge", "day", "start", "messages", "limit", "text")
_DAYS = ("date", "day", "state", "hours", "limit", "messages", "hours_used")


def _address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS")


def _plan(parser: argparse.ArgumentParser) -> None:
    _address(parser)
    parser.add_argument("--days", type=int, metavar="N", help="how many days it takes (default 7)")
    parser.add_argument("--start", metavar="DATE", help="the first day, such as 2026-03-02 (default today)")
    parser.add_argument("--window-start", metavar="TIME", help="when the day's hours begin (default 09:00)")
    parser.add_argument("--curve", metavar="CURVE", help="gentle (default) or linear")
    parser.add_argument("--no-windows", action="store_true", help="limit the messages an hour, not the hours")
    parser.add_argument("--hourly", metavar="N,N,...", help="the most messages an hour, by day; `default`: those published")
    parser.add_argument(
        "--hourly-of",
        action="append",
        default=[],
        metavar="RECEIVERS=N,N,...",
        help="the same for receivers such as `google`",
    )
    parser.add_argument("--burst", type=int, metavar="N", help="how many of an hour's messages may go at once (default 3)")
    parser.add_argument(
        "--require-traffic", type=int, metavar="N", help="fewer messages than these repeat a day (default 1)"
    )
    parser.add_argument("--confirmed", action="store_true", help="though it is fewer days than receivers want")


def _start_arguments(parser: argparse.ArgumentParser) -> None:
    _plan(parser)
    parser.add_argument("--when-checked", action="store_true", help="once its checks find nothing critical")


def _pause_arguments(parser: argparse.ArgumentParser) -> None:
    _address(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")


def _repeat_arguments(parser: argparse.ArgumentParser) -> None:
    _address(parser)
    parser.add_argument("--day", type=int, metavar="N", help="step back to this day; left out: today's once more")


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("days", "start", "window_start", "curve", "burst", "require_traffic")
    body: dict[str, Any] = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    body |= {"windows": False} if arguments.no_windows else {}
    body |= {"hourly": arguments.hourly} if arguments.hourly is not None else {}
    of_groups = dict(one.partition("=")[::2] for one in arguments.hourly_of)
    body |= {"hourly_of": of_groups} if of_groups else {}
    return body | ({"confirmed": True} if arguments.confirmed else {})


def _list(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.get("/warm-ups")
    return answer(arguments, rows, lambda: table(rows, _COLUMNS, "no address is warmed up"))


def _show(api: Api, arguments: argparse.Namespace) -> int:
    found = api.get(f"/warm-ups/{quoted(arguments.address)}")
    return answer(arguments, found, lambda: _text(found, every=True))


def _text(found: dict[str, Any], *, every: bool = False) -> str:
    said = found["forecast"]
    lines = [f"{found['address']}: {found['text']}", found["plan_text"], found["today"]]
    lines += [said["text"]] if said else []
    lines = [one for one in dict.fromkeys(lines) if one and one != found["text"]]
    text = "\n".join(map(line, lines))
    return f"{text}\n{table(found['days'], _DAYS)}" if every and found["days"] else text


def _order(method: str, name: str, body: Any = lambda arguments: None) -> Any:
    def carry_out(api: Api, arguments: argparse.Namespace) -> int:
        found = api.call(method, f"/warm-ups/{quoted(arguments.address)}/{name}", body(arguments))
        return answer(arguments, found, lambda: _text(found))

    return carry_out


def _forget(api: Api, arguments: argparse.Namespace) -> int:
    done = api.call("DELETE", f"/warm-ups/{quoted(arguments.address)}")
    return answer(arguments, done, done["text"])


def _start(arguments: argparse.Namespace) -> dict[str, Any]:
    return _given(arguments) | ({"anyway": False} if arguments.when_checked else {})


WARMUP = Order(
    "warmup",
    "addresses that are warmed up",
    orders=(
        Order("list", "list the warm-ups that are known", nothing, _list),
        Order("show", "show an address's warm-up, with its days and a forecast", _address, _show),
        Order("start", "begin to warm up an address", _start_arguments, _order("POST", "start", _start)),
        Order("restart", "begin again with the first day", _plan, _order("POST", "restart", _given)),
        Order("plan", "go on by another plan; the days done stay done", _plan, _order("PUT", "plan", _given)),
        Order(
            "pause",
            "send nothing from an address until it is resumed",
            _pause_arguments,
            _order("POST", "pause", lambda arguments: {"reason": arguments.reason}),
        ),
        Order("resume", "go on with the day on which it was paused", _address, _order("POST", "resume")),
        Order(
            "repeat",
            "repeat today's day of the plan, or step back to an earlier one",
            _repeat_arguments,
            _order("POST", "repeat-day", lambda arguments: {"day": arguments.day}),
        ),
        Order("skip", "end the warm-up: the address is used as any other", _address, _order("POST", "skip-to-warm")),
        Order("warm", "say that an address needs no warming up", _address, _order("POST", "already-warm")),
        Order("hold", "send nothing until its warm-up is started", _address, _order("POST", "hold-back")),
        Order("forget", "know nothing of its warm-up any more", _address, _forget),
    ),
)
