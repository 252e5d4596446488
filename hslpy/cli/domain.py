"""`hslpy domain`: customers' domains."""

from __future__ import annotations

import argparse
from typing import Any

from hslpy.cli.admin import quoted
from hslpy.cli.orders import Order, add_removal, answer, command, removed
from hslpy.cli.output import table
from hslpy.cli.reach import Api
from hslpy.errors import OperatorError

_COLUMNS = ("name", "admin", "aliases", "users", "locked", "created_at")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="DOMAIN")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contains", default="", metavar="TEXT", help="only those whose name, or an alias, has it")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--admin", default="", metavar="ADMIN", help="whose domain it is")
    parser.add_argument("--alias-of", default="", metavar="DOMAIN", help="the domain that it stands for")


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--rename", metavar="DOMAIN", help="the new name")
    parser.add_argument("--admin", metavar="ADMIN", help="whose domain it is; an empty one is nobody's")


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    add_removal(parser)


def _list(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.rows("/domains", contains=arguments.contains)
    return answer(arguments, rows, lambda: table(rows, _COLUMNS, "there are no domains"))


def _add(api: Api, arguments: argparse.Namespace) -> int:
    row = api.call("POST", "/domains", {"name": arguments.name, "admin": arguments.admin, "alias_of": arguments.alias_of})
    return answer(arguments, row, f"{arguments.name} was added")


def _set(api: Api, arguments: argparse.Namespace) -> int:
    told = {"new_name": arguments.rename, "admin": arguments.admin}
    body = {name: value for name, value in told.items() if value is not None}
    if not body:
        raise OperatorError("nothing was chosen to be changed", hint="try `hslpy domain set --help`")
    row = api.call("PATCH", f"/domains/{quoted(arguments.name)}", body)
    return answer(arguments, row, f"{row['name']} was changed")


def _lock(locked: bool) -> Any:
    def lock(api: Api, arguments: argparse.Namespace) -> int:
        row = api.call("PATCH", f"/domains/{quoted(arguments.name)}", {"locked": locked})
        return answer(arguments, row, f"{row['name']} {'is locked' if locked else 'may send again'}")

    return lock


def _remove(api: Api, arguments: argparse.Namespace) -> int:
    path = f"/domains/{quoted(arguments.name)}"
    return removed(api, arguments, path, {})


COMMAND = command(
    "domain",
    "customers' domains",
    (
        Order("list", "list domains", _list_arguments, _list),
        Order("add", "add a domain, or an alias of one", _add_arguments, _add),
        Order("set", "rename a domain, or give it another admin", _set_arguments, _set),
        Order("lock", "keep a domain's users from sending", _name, _lock(True)),
        Order("unlock", "let a domain's users send again", _name, _lock(False)),
        Order("remove", "remove a domain with its users and delivery IPs", _remove_arguments, _remove),
    ),
)
