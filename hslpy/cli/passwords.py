"""Passwords as commands take them: asked for, from standard input, or made. Never an argument, which others could read."""

from __future__ import annotations

import argparse
import getpass
import sys
import warnings

from hslpy.errors import OperatorError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--password", action="store_true", help="ask for a password")
    given.add_argument("--password-stdin", action="store_true", help="read the password from standard input: its first line")
    given.add_argument("--generate", action="store_true", help="make a password, and print it once")


def password_of(arguments: argparse.Namespace, *, wanted: bool) -> tuple[str, bool]:
    """Give the password, empty for none, and whether it was made. A `wanted` one is asked for. Raises OperatorError."""
    if arguments.generate:
        from hslpy.egress.accounts.admins import make_password

        return make_password(), True
    if arguments.password_stdin:
        return text_of(from_input()), False
    if arguments.password or wanted:
        return text_of(asked()), False
    return "", False


def text_of(password: bytes) -> str:
    try:
        return password.decode()
    except UnicodeDecodeError:
        raise OperatorError("the password is not UTF-8") from None


def from_input() -> bytes:
    return _checked(sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r"))


def asked() -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would read from elsewhere, and show it
            password = getpass.getpass("Password: ")
            again = getpass.getpass("Once more: ")
    except (EOFError, getpass.GetPassWarning):
        raise OperatorError(
            "there is no terminal to ask on", hint="give it to standard input, with --password-stdin"
        ) from None
    if password != again:
        raise OperatorError("these were two passwords")
    return _checked(password.encode("utf-8", "surrogateescape"))


def _checked(password: bytes) -> bytes:
    if not password or b"\0" in password:
        raise OperatorError("a password has at least one character, and no NUL")
    return password
