"""`hslpy user`: lines for the file of users, and who is heard again after too many failed logins."""

from __future__ import annotations

import argparse
import getpass
import sys
import warnings
from ipaddress import ip_address
from pathlib import Path

from hslpy.cli.command import Command
from hslpy.cli.queue import request
from hslpy.config import read_settings
from hslpy.errors import OperatorError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    orders = parser.add_subparsers(dest="order", metavar="ORDER", required=True)
    text = "print the line of a user, with the argon2 hash of a password that is asked for"
    make = orders.add_parser("hash", help=text, description=text)
    make.add_argument("name", nargs="?", metavar="NAME", help="the user; left out: the hash alone is printed")
    make.add_argument("--stdin", action="store_true", help="read the password from standard input: its first line")
    text = "have a running server forget the failed logins of a user, of a client, or of both, and hear them again"
    unblock = orders.add_parser("unblock", help=text, description=text)
    unblock.add_argument("name", nargs="?", metavar="NAME", help="the user")
    unblock.add_argument("--ip", metavar="ADDRESS", help="the client, as `remote_ip` in the log")
    unblock.add_argument(
        "--config", type=Path, metavar="FILE", help="the server's settings (default: those of `hslpy serve`)"
    )


def _run(arguments: argparse.Namespace) -> int:
    return _hash(arguments) if arguments.order == "hash" else _unblock(arguments)


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
    password = _from_input() if arguments.stdin else _asked()
    line = make_hash(password)
    print(line if arguments.name is None else f"{arguments.name}:{line}")
    return 0


def _from_input() -> bytes:
    return _checked(sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r"))


def _asked() -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would read from elsewhere, and show it
            password = getpass.getpass("Password: ")
            again = getpass.getpass("Once more: ")
    except (EOFError, getpass.GetPassWarning):
        raise OperatorError("there is no terminal to ask on", hint="give the password to --stdin") from None
    if password != again:
        raise OperatorError("these were two passwords")
    return _checked(password.encode("utf-8", "surrogateescape"))


def _checked(password: bytes) -> bytes:
    if not password or b"\0" in password:
        raise OperatorError("a password has at least one character, and no NUL")
    return password


COMMAND = Command(
    "user",
    "make lines for the file of users, hear somebody again after failed logins",
    _add_arguments,
    _run,
    description="`hslpy user hash NAME` asks for a password and prints the line for `smtp.users_file`:\n"
    "  hslpy user hash alice >> /etc/hslpy/users\n"
    "`hslpy user unblock NAME --ip ADDRESS` has the server forget failed logins (`smtp.login_blocked` in the log).",
)
