"""`hslpy user`: outgoing users; lines for the file of users; who is heard again after too many failed logins."""

from __future__ import annotations

import argparse
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

from hslpy.cli import orders, passwords
from hslpy.cli.command import Command
from hslpy.cli.orders import Order, answer
from hslpy.cli.output import table
from hslpy.cli.queue import request
from hslpy.cli.reach import Api
from hslpy.config import read_settings
from hslpy.errors import OperatorError

_COLUMNS = ("domain", "username", "network", "locked", "locked_reason", "created_at")
_HASH = "read the argon2 hash of a password, as `hslpy user hash` prints it, from standard input"


def _who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("domain", metavar="DOMAIN", help="the user's domain; or `user@domain` in place of both")
    parser.add_argument("username", nargs="?", metavar="USER", help="a name, address or network; none: the domain's own")


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("domain", nargs="?", default="", metavar="DOMAIN", help="left out: those of all")
    parser.add_argument("--contains", default="", metavar="TEXT", help="only those whose name has it")


def _new_arguments(parser: argparse.ArgumentParser) -> None:
    _who(parser)
    passwords.add_arguments(parser)
    parser.add_argument("--hash-stdin", action="store_true", help=_HASH)


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    _new_arguments(parser)
    parser.add_argument("--rename", metavar="USER", help="the new name")


def _lock_arguments(parser: argparse.ArgumentParser) -> None:
    _who(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for those who ask")


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    _who(parser)
    orders.add_removal(parser)


def _named(arguments: argparse.Namespace) -> dict[str, str]:
    """Give domain and username, which may have been written as one."""
    if arguments.username is None and "@" in arguments.domain:
        username, _, domain = arguments.domain.rpartition("@")
        return {"domain": domain, "username": username}
    return {"domain": arguments.domain, "username": arguments.username or ""}


def _shown(who: dict[str, str]) -> str:
    return f"{who['username']}@{who['domain']}" if who["username"] else f"{who['domain']}'s own user"


def _secret(arguments: argparse.Namespace, *, wanted: bool) -> tuple[dict[str, str], str]:
    """Give the password or hash for the request, and the password where it was made."""
    if arguments.hash_stdin:
        return {"hashed": passwords.text_of(passwords.from_input())}, ""
    password, is_made = passwords.password_of(arguments, wanted=wanted)
    return ({"password": password} if password else {}), password if is_made else ""


def _is_network(username: str) -> bool:
    try:
        return ip_network(username, strict=False) is not None
    except ValueError:
        return False


def _list(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.rows("/users", domain=arguments.domain, contains=arguments.contains)
    return answer(arguments, rows, lambda: table(rows, _COLUMNS, "there are no outgoing users"))


def _add(api: Api, arguments: argparse.Namespace) -> int:
    who = _named(arguments)
    secret, made = _secret(arguments, wanted=not _is_network(who["username"]))
    return _told(arguments, api.call("POST", "/users", {**who, **secret}), "was added", made)


def _set(api: Api, arguments: argparse.Namespace) -> int:
    secret, made = _secret(arguments, wanted=False)
    body = {**secret, **({"new_name": arguments.rename} if arguments.rename is not None else {})}
    if not body:
        raise OperatorError("nothing was chosen to be changed", hint="try `hslpy user set --help`")
    return _told(arguments, api.call("PATCH", "/users", body, params=_named(arguments)), "was changed", made)


def _lock(api: Api, arguments: argparse.Namespace) -> int:
    body = {"locked": True, "reason": arguments.reason}
    return _told(arguments, api.call("PATCH", "/users", body, params=_named(arguments)), "is locked", "")


def _unlock(api: Api, arguments: argparse.Namespace) -> int:
    return _told(arguments, api.call("PATCH", "/users", {"locked": False}, params=_named(arguments)), "may send again", "")


def _told(arguments: argparse.Namespace, row: dict[str, str], what: str, made: str) -> int:
    shown = row | ({"password": made} if made else {})
    return answer(arguments, shown, f"{_shown(row)} {what}" + (f"\npassword: {made}" if made else ""))


def _remove(api: Api, arguments: argparse.Namespace) -> int:
    return orders.removed(api, arguments, "/users", _named(arguments))


STORE = (
    Order("list", "list outgoing users", _list_arguments, _list),
    Order("add", "add an outgoing user, or give the domain's own one a password", _new_arguments, _add),
    Order("set", "rename an outgoing user, or set another password", _set_arguments, _set),
    Order("lock", "keep an outgoing user from sending, and hold its queued mail", _lock_arguments, _lock),
    Order("unlock", "let an outgoing user send again", _who, _unlock),
    Order("remove", "remove an outgoing user with its delivery IPs", _remove_arguments, _remove),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    more = orders.add_orders(parser, STORE)
    text = "print the line of a user, with the argon2 hash of a password that is asked for"
    make = more.add_parser("hash", help=text, description=text)
    make.add_argument("name", nargs="?", metavar="NAME", help="the user; left out: the hash alone is printed")
    make.add_argument("--stdin", action="store_true", help="read the password from standard input: its first line")
    text = "have a running server forget the failed logins of a user, of a client, or of both, and hear them again"
    unblock = more.add_parser("unblock", help=text, description=text)
    unblock.add_argument("name", nargs="?", metavar="NAME", help="the user")
    unblock.add_argument("--ip", metavar="ADDRESS", help="the client, as `remote_ip` in the log")
    unblock.add_argument(
        "--config", type=Path, metavar="FILE", help="the server's settings (default: those of `hslpy serve`)"
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.order in ("hash", "unblock"):
        return _hash(arguments) if arguments.order == "hash" else _unblock(arguments)
    return orders.run(arguments)


def _unblock(arguments: argparse.Namespace) -> int:
    if not arguments.name and not arguments.ip:
        raise OperatorError("`user unblock` wants a name, an address or both", hint="try `hslpy user unblock --help`")
    if arguments.ip:
        try:
            ip_address(arguments.ip)
        except ValueError:
            raise OperatorError(f"{arguments.ip} is no IP address") from None
    path = read_settings(arguments.config).control_path
    result = request(path, "user.unblock", {"name": arguments.name, "ip": arguments.ip})
    scopes = ", ".join(result["unblocked"])
    print(f"unblocked: {scopes}" if scopes else "nobody of these was blocked; their failed logins are forgotten")
    for each in result.get("missing", ()):
        print(f"without worker {each['worker']}: {each['why']}", file=sys.stderr)
    return 1 if result.get("missing") else 0


def _hash(arguments: argparse.Namespace) -> int:
    from hslpy.users.argon import make_hash
    from hslpy.users.file import fault_in_name

    fault = fault_in_name(arguments.name) if arguments.name is not None else None
    if fault is not None:
        raise OperatorError(f"{arguments.name!r} cannot be the name of a user: {fault}")
    password = passwords.from_input() if arguments.stdin else passwords.asked()
    line = make_hash(password)
    print(line if arguments.name is None else f"{arguments.name}:{line}")
    return 0


COMMAND = Command(
    "user",
    "outgoing users; lines for the file of users; hear somebody again after failed logins",
    _add_arguments,
    _run,
    description="`hslpy user add example.com bob` adds an outgoing user to the database of delivery IPs.\n"
    "`hslpy user hash NAME` asks for a password and prints the line for `smtp.users_file`:\n"
    "  hslpy user hash alice >> /etc/hslpy/users\n"
    "`hslpy user unblock NAME --ip ADDRESS` has the server forget failed logins (`smtp.login_blocked` in the log).",
)
