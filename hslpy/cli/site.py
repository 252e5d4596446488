"""`hslpy site`: what holds for the whole site."""

from __future__ import annotations

import argparse
from typing import Any

from hslpy.cli.orders import Order, answer, command, nothing
from hslpy.cli.output import table
from hslpy.cli.reach import Api
from hslpy.errors import OperatorError


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("values", nargs="*", metavar="KEY=VALUE", help="lists have `,` between")
    parser.add_argument("--default", action="append", default=[], metavar="KEY", help="set the default of a key again")


def _list(api: Api, arguments: argparse.Namespace) -> int:
    return _answer(arguments, api.get("/site"))


def _set(api: Api, arguments: argparse.Namespace) -> int:
    wrong = [one for one in arguments.values if "=" not in one]
    if wrong or not (arguments.values or arguments.default):
        raise OperatorError("`site set` wants KEY=VALUE", hint="`hslpy site list` shows what there is")
    values: dict[str, Any] = dict(one.split("=", 1) for one in arguments.values)
    return _answer(arguments, api.call("PATCH", "/site", values | dict.fromkeys(arguments.default)))


def _answer(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> int:
    return answer(arguments, rows, lambda: table(rows, ("key", "value", "is_default", "help")))


COMMAND = command(
    "site",
    "settings of delivery IPs that hold for the whole site",
    (
        Order("list", "list the settings with their values and what they mean", nothing, _list),
        Order("set", "set some of them", _set_arguments, _set),
    ),
)
