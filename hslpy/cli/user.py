"""`hslpy user`: lines for the file of users."""

from __future__ import annotations

import argparse
import getpass
import sys

from hslpy.cli.command import Command
from hslpy.errors import OperatorError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    orders = parser.add_subparsers(dest="order", metavar="ORDER", required=True)
    make = orders.add_parser("hash", help="print the line of a user, with the argon2 hash of a password that is asked for")
    make.add_argument("name", nargs="?", metavar="NAME", help="the user; left out: the hash alone is printed")
    make.add_argument("--stdin", action="store_true", help="read the password from standard input: its first line")


def _run(arguments: argparse.Namespace) -> int:
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
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
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
    "make lines for the file of users who may sign in",
    _add_arguments,
    _run,
    description="`hslpy user hash NAME` asks for a password and prints the line for `smtp.users_file`:\n"
    "  hslpy user hash alice >> /etc/hslpy/users",
)
