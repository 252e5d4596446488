"""`hslpy admin`: who may sign in to page and API, and their tokens."""

from __future__ import annotations

import argparse
from typing import Any

from hslpy.cli import passwords
from hslpy.cli.orders import Order, answer, command, networks_or_names, nothing
from hslpy.cli.output import table
from hslpy.cli.reach import Api
from hslpy.clock import SystemClock
from hslpy.errors import OperatorError

ROLES = ("super-admin", "admin", "read-only")
_COLUMNS = ("name", "role", "parent", "is_api_user", "locked", "signed_in_at")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def _limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", metavar="ROLE", choices=ROLES, help=" or ".join(ROLES))
    parser.add_argument("--parent", metavar="ADMIN", help="the admin above; an empty one is none")
    parser.add_argument(
        "--api-user",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the software API may be used without the role super-admin",
    )
    parser.add_argument("--calls", nargs="+", metavar="CALL", help="allowed calls of the software API, or `all`")
    parser.add_argument("--networks", nargs="+", metavar="NETWORK", help="from where to sign in, or `all`")
    passwords.add_arguments(parser)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    _limits(parser)


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--rename", metavar="NAME", help="the new name")
    _limits(parser)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    told = {"role": arguments.role, "parent": arguments.parent, "is_api_user": arguments.api_user}
    body = {name: value for name, value in told.items() if value is not None}
    for name, texts in (("allowed_calls", arguments.calls), ("allowed_networks", arguments.networks)):
        if texts is not None:
            body[name] = networks_or_names(texts)
    return body


def _list(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.rows("/admins")
    return answer(arguments, rows, lambda: table(rows, _COLUMNS, "there are no admins"))


def _add(api: Api, arguments: argparse.Namespace) -> int:
    password, is_made = passwords.password_of(arguments, wanted=True)
    row = api.call("POST", "/admins", {"name": arguments.name, "password": password, **_given(arguments)})
    return _told(arguments, row, "was added", password if is_made else "")


def _set(api: Api, arguments: argparse.Namespace) -> int:
    password, is_made = passwords.password_of(arguments, wanted=False)
    body = _given(arguments) | ({"password": password} if password else {})
    body |= {"new_name": arguments.rename} if arguments.rename is not None else {}
    if not body:
        raise OperatorError("nothing was chosen to be changed", hint="try `hslpy admin set --help`")
    row = api.call("PATCH", f"/admins/{quoted(arguments.name)}", body)
    return _told(arguments, row, "was changed", password if is_made else "")


def _lock(locked: bool) -> Any:
    def lock(api: Api, arguments: argparse.Namespace) -> int:
        row = api.call("PATCH", f"/admins/{quoted(arguments.name)}", {"locked": locked})
        return _told(arguments, row, "is locked" if locked else "may sign in again", "")

    return lock


def _told(arguments: argparse.Namespace, row: dict[str, Any], what: str, password: str) -> int:
    shown = row | ({"password": password} if password else {})
    return answer(arguments, shown, f"{row['name']} {what}" + (f"\npassword: {password}" if password else ""))


def _remove(api: Api, arguments: argparse.Namespace) -> int:
    done = api.call("DELETE", f"/admins/{quoted(arguments.name)}")
    return answer(arguments, done, done["text"])


def quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def _token_list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("admin", nargs="?", default="", metavar="ADMIN", help="left out: those of all")


def _token_add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("admin", metavar="ADMIN")
    parser.add_argument("name", metavar="NAME", help="what the token is for")
    parser.add_argument("--scope", action="append", metavar="SCOPE", help="what it may do, as `ips:read`; left out: all")
    parser.add_argument("--days", type=float, metavar="N", help="how long it is good; left out: until it is removed")


def _token_remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("admin", metavar="ADMIN")
    parser.add_argument("name", metavar="NAME")


def _token_list(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.rows("/tokens", admin=arguments.admin)
    columns = ("admin", "name", "scopes", "created_at", "expires_at", "used_at")
    return answer(arguments, rows, lambda: table(rows, columns, "there are no tokens"))


def _token_add(api: Api, arguments: argparse.Namespace) -> int:
    body: dict[str, Any] = {"admin": arguments.admin, "name": arguments.name, "scopes": arguments.scope or ["all"]}
    if arguments.days is not None:
        body["expires_at"] = SystemClock().time() + arguments.days * 86_400
    made = api.call("POST", "/tokens", body)
    return answer(arguments, made, f"{made['text']}\n(this token is not shown again)")


def _token_remove(api: Api, arguments: argparse.Namespace) -> int:
    done = api.call("DELETE", "/tokens", params={"admin": arguments.admin, "name": arguments.name})
    return answer(arguments, done, done["text"])


COMMAND = command(
    "admin",
    "who may sign in to the page and the API, and their tokens",
    (
        Order("list", "list admins", nothing, _list),
        Order("add", "add an admin", _add_arguments, _add),
        Order("set", "change an admin, or set another password", _set_arguments, _set),
        Order("lock", "keep an admin from signing in", _name, _lock(True)),
        Order("unlock", "let an admin sign in again", _name, _lock(False)),
        Order("remove", "remove an admin, with its delivery IPs and tokens", _name, _remove),
        Order(
            "token",
            "tokens for the API",
            orders=(
                Order("list", "list tokens", _token_list_arguments, _token_list),
                Order("add", "add a token, and print it once", _token_add_arguments, _token_add),
                Order("remove", "remove a token: it can be used no more", _token_remove_arguments, _token_remove),
            ),
        ),
    ),
    description="Passwords are asked for, read from standard input (`--password-stdin`) or made (`--generate`):\n"
    "  hslpy admin add ann --role admin --generate\n"
    "  hslpy admin token add ann reports --scope ips:read --days 90",
)
