"""`hslpy node`: the servers that mail leaves from, and their addresses."""

from __future__ import annotations

import argparse
from typing import Any

from hslpy.cli.admin import quoted
from hslpy.cli.orders import Order, answer, command, nothing
from hslpy.cli.output import table
from hslpy.cli.reach import Api
from hslpy.errors import OperatorError

_COLUMNS = ("name", "primary_ipv4", "primary_ipv6", "ipv6_enabled", "addresses", "reported_at", "locked", "locked_reason")
_ADDRESSES = ("address", "present", "is_primary", "used", "ptr", "helo", "status", "warmup", "reputation", "public_address")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NODE", help="the server's host name")


def _new_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--ipv4", metavar="ADDRESS", help="its primary IPv4 address")
    parser.add_argument("--ipv6", metavar="ADDRESS", help="its primary IPv6 address")
    parser.add_argument("--address", action="append", default=[], metavar="ADDRESS", help="another address that it has")
    parser.add_argument(
        "--ipv6-enabled", action=argparse.BooleanOptionalAction, default=None, help="whether mail leaves over IPv6"
    )


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    _new_arguments(parser)
    parser.add_argument("--rename", metavar="NODE", help="the new name")


def _lock_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; the queue shows it with the mail that waits")


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _rescan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NODE", help="none: all")


def _nat_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("address", metavar="ADDRESS", help="the private address")
    parser.add_argument("public", nargs="?", default="", metavar="PUBLIC", help="what it is translated to; none: nothing")


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    told = {"primary_ipv4": arguments.ipv4, "primary_ipv6": arguments.ipv6, "ipv6_enabled": arguments.ipv6_enabled}
    body = {name: value for name, value in told.items() if value is not None}
    return body | ({"addresses": arguments.address} if arguments.address else {})


def _list(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.rows("/nodes")
    return answer(arguments, rows, lambda: table(rows, _COLUMNS, "there are no nodes"))


def _add(api: Api, arguments: argparse.Namespace) -> int:
    row = api.call("POST", "/nodes", {"name": arguments.name, **_given(arguments)})
    return answer(arguments, row, f"{row['name']} was added")


def _set(api: Api, arguments: argparse.Namespace) -> int:
    body = _given(arguments) | ({"new_name": arguments.rename} if arguments.rename is not None else {})
    if not body:
        raise OperatorError("nothing was chosen to be changed", hint="try `hslpy node set --help`")
    row = api.call("PATCH", f"/nodes/{quoted(arguments.name)}", body)
    return answer(arguments, row, f"{row['name']} was changed")


def _lock(api: Api, arguments: argparse.Namespace) -> int:
    row = api.call("PATCH", f"/nodes/{quoted(arguments.name)}", {"locked": True, "reason": arguments.reason})
    return answer(arguments, row, f"{row['name']} is locked")


def _unlock(api: Api, arguments: argparse.Namespace) -> int:
    row = api.call("PATCH", f"/nodes/{quoted(arguments.name)}", {"locked": False})
    return answer(arguments, row, f"{row['name']} delivers again")


def _remove(api: Api, arguments: argparse.Namespace) -> int:
    path = f"/nodes/{quoted(arguments.name)}"
    done = api.call("DELETE", path, params={"only_look": "true" if arguments.dry_run else ""})
    return answer(arguments, done, f"nothing was done; this would be: {done['text']}" if arguments.dry_run else done["text"])


def _addresses(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.get(f"/nodes/{quoted(arguments.name)}/addresses")
    return answer(arguments, rows, lambda: table(rows, _ADDRESSES, "this server has not reported its addresses yet"))


def _rescan(api: Api, arguments: argparse.Namespace) -> int:
    done = api.call("POST", "/nodes/rescan", {"nodes": arguments.names})
    return answer(arguments, done, done["text"])


def _nat(api: Api, arguments: argparse.Namespace) -> int:
    path = f"/nodes/{quoted(arguments.name)}/addresses/{quoted(arguments.address)}"
    done = api.call("PUT", path, {"public_address": arguments.public})
    return answer(arguments, done, done["text"])


COMMAND = command(
    "node",
    "the servers that mail leaves from, and their addresses",
    (
        Order("list", "list nodes", nothing, _list),
        Order("add", "add a node; each server adds itself when it starts", _new_arguments, _add),
        Order("set", "change a node", _set_arguments, _set),
        Order("lock", "keep a node from delivering, and hold the mail in its queue", _lock_arguments, _lock),
        Order("unlock", "let a node deliver again", _name, _unlock),
        Order("remove", "remove a node with its addresses and delivery IPs", _remove_arguments, _remove),
        Order("addresses", "list a node's addresses with what is known of each", _name, _addresses),
        Order("rescan", "have nodes report their addresses now", _rescan_arguments, _rescan),
        Order("nat", "say what a node's private address is translated to", _nat_arguments, _nat),
    ),
)
