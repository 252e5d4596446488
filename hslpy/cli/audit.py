"""`hslpy audit`: who has done what."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from hslpy.cli.command import Command
from hslpy.cli.orders import add_reach, answer
from hslpy.cli.output import table
from hslpy.cli.reach import Api

_COLUMNS = ("at", "actor", "client", "source_address", "action", "arguments", "result")


def _day(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wants a time such as 2026-03-31 or 2026-03-31T12:00, got {text!r}") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--actor", default="", metavar="NAME", help="what this admin did")
    parser.add_argument("--client", default="", metavar="NAME", help="what came through `page`, `api` or `cli`")
    parser.add_argument("--action", default="", metavar="TEXT", help="what begins so, such as `ip`")
    parser.add_argument("--contains", default="", metavar="TEXT", help="what has this anywhere")
    parser.add_argument("--since", type=_day, metavar="TIME", help="not before this time, in UTC")
    parser.add_argument("--until", type=_day, metavar="TIME", help="before this time, in UTC")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="print N entries, 500 at most (default 50)")
    add_reach(parser)


def _run(arguments: argparse.Namespace) -> int:
    names = ("actor", "client", "action", "contains", "since", "until")
    with Api(arguments.config) as api:
        found = api.get("/audit", per_page=arguments.limit, **{name: getattr(arguments, name) for name in names})
    rows = found["items"]
    return answer(arguments, rows, lambda: table(rows, _COLUMNS, "nothing was done"))


COMMAND = Command("audit", "who has done what, the latest first", _add_arguments, _run)
