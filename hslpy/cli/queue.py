"""`hslpy queue list|summary|nodes|show|hold|release|delete`: the queue of a running server, over its control socket."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hslpy.admin.control import reachable
from hslpy.cli.command import Command
from hslpy.cli.output import line as _line
from hslpy.cli.output import when as _when
from hslpy.cli.reach import Api
from hslpy.config import read_settings
from hslpy.errors import OperatorError
from hslpy.queue.entries import FIELDS


def request(path: Path, command: str, arguments: Mapping[str, Any]) -> Any:
    """Give the running server's answer to one control request.

    Raises OperatorError when no server answers at `path`, or with the server's own error.
    """
    try:
        with socket.socket(socket.AF_UNIX) as link, reachable(path) as name:
            link.settimeout(30)
            link.connect(name)
            link.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
            with link.makefile("rb") as stream:
                line = stream.readline()
        answer = json.loads(line)
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"no server answers at {path}",
            hint="start one with `hslpy serve`, or name its settings with --config FILE",
        ) from error
    if not answer["ok"]:
        raise OperatorError(answer["error"], hint=answer.get("hint"), exit_code=1)
    return answer["result"]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"wants a whole number, got {text!r}")
    return int(text)


def _common(parser: argparse.ArgumentParser) -> None:
    """Add what may stand before the action and after it: no default of the latter undoes the former."""
    more: dict[str, Any] = {"default": argparse.SUPPRESS}
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the server's settings (default: those of `hslpy serve`)", **more
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON", **more)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.set_defaults(config=None, json=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("list", "list queued recipients"),
        ("summary", "count queued recipients, by destination or another field"),
        ("nodes", "count queued recipients by server: of this one now, of the others as they told last"),
        ("show", "show one recipient, or all of a message"),
        ("hold", "keep recipients from being tried"),
        ("release", "let held recipients go, and try waiting ones now"),
        ("delete", "remove recipients without a bounce"),
    ):
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        _common(action)
        if name == "nodes":
            continue
        if name == "show":
            action.add_argument("id", help="a queue id, or the id that the 250 reply named")
            action.add_argument("--content", action="store_true", help="print the message's bytes too")
            continue
        if name == "summary":
            action.add_argument(
                "--by", default="recipientdomain", metavar="FIELD", help="a field, or `user` (default recipientdomain)"
            )
            action.add_argument("--limit", type=_count, default=20, metavar="N", help="print at most N groups (default 20)")
        elif name != "list":
            action.add_argument("ids", nargs="*", metavar="ID", help="queue ids, or ids that 250 replies named")
            action.add_argument("--all", action="store_true", help="every recipient in the queue")
        else:
            action.add_argument(
                "--limit", type=_count, default=100, metavar="N", help="print at most N recipients (default 100)"
            )
            action.add_argument("--offset", type=_count, default=0, metavar="N", help="leave out the first N")
            action.add_argument("--held", action="store_true", help="only held recipients")
        for field in FIELDS:
            action.add_argument(f"--{field}", metavar="VALUE", help=f"only where {field} is VALUE")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.action == "nodes":
        with Api(arguments.config) as api:
            _print(arguments, {"nodes": api.get("/queue/nodes")}, _nodes)
        return 0
    path = read_settings(arguments.config).control_path
    filters = {name: value for name in FIELDS if (value := getattr(arguments, name, None)) is not None}
    action = arguments.action
    if action == "show":
        result = request(path, "queue.show", {"id": arguments.id, "content": arguments.content})
        _print(arguments, result, _show)
    elif action == "list":
        wanted = {"filter": filters, "limit": arguments.limit, "offset": arguments.offset, "held": arguments.held}
        result = request(path, "queue.list", wanted)
        _print(arguments, result, _list)
    elif action == "summary":
        asked = {"filter": filters, "by": arguments.by, "most": arguments.limit}
        result = request(path, "queue.summary", asked)
        _print(arguments, result, _summary)
    else:
        if not arguments.ids and not filters and not arguments.all:
            raise OperatorError(f"`queue {action}` wants ids, a filter or --all", hint=f"try `hslpy queue {action} --help`")
        result = request(path, f"queue.{action}", {"ids": arguments.ids, "filter": filters, "all": arguments.all})
        done = {"hold": "held", "release": "released", "delete": "deleted"}[action]
        later = f" ({result['later']} once their attempt has ended)" if result["later"] else ""
        if withheld := result.get("withheld"):
            later += f"; {withheld} stay{'s' if withheld == 1 else ''} held: its sender or the server is locked"
        _print(arguments, result, lambda r: f"{done} {r['count']}{later}")
        return 1 if result.get("missing") or not result["count"] else 0
    return 1 if result.get("missing") else 0


def _print(arguments: argparse.Namespace, result: Any, as_text: Callable[[Any], str]) -> None:
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))
    for each in result.get("missing", ()):
        print(f"without worker {each['worker']}: {each['why']}", file=sys.stderr)


def _list(result: Mapping[str, Any]) -> str:
    rows = result["recipients"]
    aside = [f"damaged, set aside: {folder} (see docs/guide/operating.md)" for folder in result["set_aside"]]
    if not rows:
        nothing = "nothing in the queue matches" if result["total"] else "the queue is empty"
        return "\n".join([nothing + (", as far as could be asked" if result.get("missing") else ""), *aside])
    width = max(8, *(len(str(row["queue_id"])) for row in rows))
    lines = [f"{'id':>{width}}  {'state':<9} {'next try':<20} {'tries':>5} {'bytes':>9}  sender → recipient"]
    for row in rows:
        lines.append(
            f"{row['queue_id']:>{width}}  {row['state']:<9} {_when(row['due_at']) if row['state'] == 'waiting' else '-':<20}"
            f" {row['retries']:>5} {row['size_bytes']:>9}  <{_line(row['sender'])}> → <{_line(row['recipient'])}>"
        )
        lines += [f"{'':>{width + 2}}{_line(text)}" for text in (row.get("held_because"), row["last_error"]) if text]
    if result["matching"] > len(rows):
        lines.append(f"({len(rows)} of {result['matching']}; --limit N shows more)")
    return "\n".join(lines + aside)


def _summary(result: Mapping[str, Any]) -> str:
    states = ", ".join(f"{number} {state}" for state, number in sorted(result["states"].items()))
    if not states:
        return "nothing in the queue matches" if result["total"] else "the queue is empty"
    lines = [states, f"{'recipients':>10} {'held':>8} {'bytes':>12}  {'oldest':<20}  "]
    for group in result["groups"]:
        figures = f"{group['count']:>10} {group['held']:>8} {group['size_bytes']:>12}"
        lines.append(f"{figures}  {_when(group['oldest_at']):<20}  {_line(group['value']) or '-'}")
    if result["count"] > len(result["groups"]):
        lines.append(f"({len(result['groups'])} of {result['count']}; --limit N shows more)")
    return "\n".join(lines)


def _nodes(result: Mapping[str, Any]) -> str:
    lines = [f"{'recipients':>10} {'held':>8}  {'as of':<20}  server"]
    for one in result["nodes"]:
        counts, at = one["counts"], "-" if one["at"] is None else _when(one["at"])
        lines.append(
            f"{counts['total']:>10} {counts['states'].get('held', 0):>8}  {at:<20}  {one['node']} {one['page_url']}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _show(result: Mapping[str, Any]) -> str:
    parts = ["\n".join(f"{name:<16} {_shown(name, value)}" for name, value in row.items()) for row in result["recipients"]]
    if "content" in result:
        parts.append("\n".join(map(_line, result["content"].split("\n"))))
    return "\n\n".join(parts)


def _shown(name: str, value: Any) -> str:
    if name in ("received_at", "due_at", "first_at", "last_at"):
        return _when(value) if value else "-"
    return json.dumps(value) if isinstance(value, dict) else _line(str(value))


COMMAND = Command("queue", "list, count, show, hold, release or delete queued mail", _add_arguments, _run)
