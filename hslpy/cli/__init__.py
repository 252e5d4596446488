"""The command line. In: arguments. Out: an exit status: 0 fine, 1 the script or check failed, 2 wrong usage or settings.

Each command is one file here with a `COMMAND`; the list below is all there is to add.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from hslpy.cli.command import Command
from hslpy.errors import OperatorError
from hslpy.late import difflib

COMMAND_MODULES = (
    "serve", "run", "check", "test", "repl", "queue", "workers", "admin", "domain", "user", "node", "ip", "dnsbl", "site",
    "audit", "config", "export", "demo",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """argparse, with a suggestion for a misspelt command or option, of which it tells before it asks for missing ones."""

    words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = list(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        known = [option for action in self._actions for option in action.option_strings]
        if message.startswith(("the following arguments are required", "unrecognized arguments")):
            names = [word.partition("=")[0] for word in self.words if word.startswith("--")]
            given = names[: names.index("--")] if "--" in names else names  # what stands behind `--` is no option
            strange = next((one for one in given if one not in known), None)
            message = f"unknown option {strange}" if strange is not None else message
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                known += list(action.choices)
        words = [word.strip("',:") for word in message.split()]
        near = next((m[0] for w in words if w not in known and (m := difflib.get_close_matches(w, known, 1, 0.7))), None)
        hint = f"\n  hint: did you mean `{near}`?" if near else ""
        self.exit(2, f"error: {message}{hint}\n  try `{self.prog} --help`\n")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: that reads the package's metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"hslpy {version('hslpy')}")
        parser.exit()


def commands(names: Sequence[str] = COMMAND_MODULES) -> list[Command]:
    """Give the table of commands, in the order of `--help`."""
    return [importlib.import_module(f"hslpy.cli.{name}").COMMAND for name in names]


def parser(names: Sequence[str] = COMMAND_MODULES) -> argparse.ArgumentParser:
    """Give the parser of these commands: one command's own is made without importing what the others need."""
    top = _Parser(prog="hslpy", description="An outbound mail server scripted in HSL.", allow_abbrev=False)
    top.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    sub = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands(names):
        child = sub.add_parser(
            command.name,
            help=command.help,
            description=command.description or command.help,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(child)
        child.set_defaults(run=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the console script's entry."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["serve"]:  # until there is a server to reload, it would end this process, while it imports too
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    gc.disable()  # what is imported stays: looking for garbage in it is an eighth of the start
    known = [word for word in words[:1] if word in COMMAND_MODULES]
    top = parser(known if known or words == ["--version"] else COMMAND_MODULES)
    arguments, unknown = top.parse_known_args(words)
    if unknown:
        _asked_for(top, words).error(f"unrecognized arguments: {' '.join(unknown)}")
    gc.freeze()
    gc.enable()
    try:
        status: int = arguments.run(arguments)
        return status
    except OperatorError as error:
        rendered = error.message.startswith(("error[", "error: "))  # findings in scripts, each with its own head
        print(error.message if rendered else f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _asked_for(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    """Give the parser of the command, or of its order, that the words name: its options are what was meant."""
    for word in words:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                parser = action.choices[word]
    return parser
