"""Commands with orders, as `hslpy domain add`, each a few requests of the JSON API. In: a table. Out: a command."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hslpy.cli.command import Command
from hslpy.cli.reach import Api
from hslpy.errors import OperatorError
from hslpy.records import dataclass

Run = Callable[[Api, argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Order:
    """One order, or a group of `orders`."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    run: Run | None = None
    orders: tuple[Order, ...] = ()


def nothing(parser: argparse.ArgumentParser) -> None:
    """An order without arguments of its own."""


def command(name: str, help: str, orders: Sequence[Order], description: str = "") -> Command:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add_orders(parser, orders)

    return Command(name, help, add_arguments, run, description)


def add_orders(parser: argparse.ArgumentParser, orders: Sequence[Order]) -> Any:
    """Add orders to a command's parser and give where more of them may be added."""
    found = parser.add_subparsers(dest="order", metavar="ORDER", required=True)
    for order in orders:
        child = found.add_parser(order.name, help=order.help, description=order.help, allow_abbrev=False)
        if order.orders:
            add_orders(child, order.orders)
            continue
        assert order.add_arguments is not None
        order.add_arguments(child)
        add_reach(child)
        child.set_defaults(carry_out=order.run)
    return found


def add_reach(parser: argparse.ArgumentParser) -> None:
    """Add what says where the server is, and how to print."""
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the server's settings (default: those of `hslpy serve`)"
    )


def run(arguments: argparse.Namespace) -> int:
    with Api(arguments.config) as api:
        status: int = arguments.carry_out(api, arguments)
        return status


def answer(arguments: argparse.Namespace, found: Any, text: Callable[[], str] | str) -> int:
    """Print what was found, as JSON or as text."""
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        shown = text if isinstance(text, str) else text()
        if shown:
            print(shown)
    return 0


def add_removal(parser: argparse.ArgumentParser) -> None:
    """Add what a removal of somebody with mail of their own can be told."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    text = "what becomes of queued mail that is held for a lock: it is sent, or removed without a bounce"
    parser.add_argument("--queued", choices=("release", "remove"), default="", help=text)


def removed(api: Api, arguments: argparse.Namespace, path: str, who: Mapping[str, str]) -> int:
    """Remove somebody, or say what would be removed."""
    asked = {**who, "queued": arguments.queued, "only_look": "true" if arguments.dry_run else ""}
    done = api.call("DELETE", path, params=asked)
    if not arguments.dry_run:
        return answer(arguments, done, done["text"])
    held = done["held"]
    mail = (
        "" if held == 0 else f"; held mail, of which --queued has to say what becomes: {'unknown' if held is None else held}"
    )
    return answer(arguments, done, f"nothing was done; this would be: {done['text']}{mail}")


def file_of(name: str) -> bytes:
    """Give a file's bytes; `-` is standard input. Raises OperatorError."""
    import sys

    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise OperatorError(f"{name} cannot be read: {error.strerror}") from error


def networks_or_names(texts: Sequence[str] | None) -> list[str] | None:
    """Give a list that was given; a single `all` is no limit."""
    return None if texts is None or list(texts) == ["all"] else list(texts)
