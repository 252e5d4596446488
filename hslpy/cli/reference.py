"""Writes the reference pages from the tables: `python -m hslpy.cli.reference docs/reference [--check]`.

In: a folder. Out: its pages, or with --check an exit status of 1 when one isn't what the tables say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hslpy.builtins import ALL
from hslpy.cli import commands
from hslpy.config.settings import ROWS
from hslpy.config.table import REQUIRED, Setting
from hslpy.hooks.table import HOOKS
from hslpy.lang.exceptions import TOPIC as EXCEPTIONS
from hslpy.lang.profiles import PROFILES, SWITCHES
from hslpy.tooling.events import FACTS
from hslpy.tooling.explain import diagnostics_page
from hslpy.tooling.reference import (
    FAMILIES,
    HEAD,
    cell,
    facts_page,
    functions_page,
    hooks_page,
    profiles_page,
    table_page,
)
from hslpy.tooling.script_tests import TOPIC as SCRIPT_TESTS


def pages() -> dict[str, str]:
    """Give all pages by file name."""
    return {
        "functions.md": functions_page([*ALL, *EXCEPTIONS.rows, *SCRIPT_TESTS.rows]),
        "hooks.md": hooks_page(HOOKS, ALL),
        "settings.md": settings_page(ROWS),
        "commands.md": command_page([(c.name, c.description or c.help, _parser(c.add_arguments)) for c in commands()]),
        "diagnostics.md": diagnostics_page(HEAD, FAMILIES),
        "facts.md": facts_page(FACTS),
        "profiles.md": profiles_page(PROFILES, SWITCHES, HOOKS),
    }


def _parser(add_arguments: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)  # type: ignore[operator]
    return parser


def settings_page(rows: Sequence[Setting]) -> str:
    """Give the page of all settings, a table a section."""
    introduction = (
        "The settings file is TOML; each section below is a table of it, `[[name]]` one that may stand several times.\n"
        "A setting outside of those can also be given in the environment, as `HSLPY_<SECTION>_<NAME>`.\n"
        "`hslpy config` prints them all as a file. A running server takes up changed scripts by itself; settings are read\n"
        "when it starts."
    )
    return table_page(
        "Settings",
        introduction,
        ("name", "kind", "default", "what it does"),
        ((_section(row.section), (f"`{row.key}`", _kind(row), _default(row), row.help)) for row in rows),
    )


def _section(name: str) -> str:
    if not name:
        return "Above all tables"
    return f"`[[{name.removesuffix('[]')}]]`" if name.endswith("[]") else f"`[{name}]`"


def _kind(row: Setting) -> str:
    kind = " or ".join(row.choices) if row.choices else row.kind
    return f"{kind} ({row.unit})" if row.unit else kind


def _default(row: Setting) -> str:
    if row.default is REQUIRED:
        return "required"
    value = row.default
    if value is None or value == "" or value == () or value == {}:
        return ""
    if isinstance(value, tuple | list):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def command_page(commands: Iterable[tuple[str, str, argparse.ArgumentParser]]) -> str:
    """Give the page of commands: (name, description, a parser with the command's arguments)."""
    out = [HEAD, "# Commands\n\nExit status: 0 fine, 1 the script or check failed, 2 wrong usage or settings.\n"]
    for name, description, parser in commands:
        out.append(f"\n## hslpy {name}\n\n```\n{description}\n```\n")
        out += _with_orders(name, parser)
    return "".join(out)


def _with_orders(name: str, parser: argparse.ArgumentParser) -> list[str]:
    out = _arguments(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner, child in action.choices.items():
                out.append(f"\n### hslpy {name} {inner}\n\n{_sentence(child.description or '')}\n")
                out += _with_orders(f"{name} {inner}", child)
    return out


def _arguments(parser: argparse.ArgumentParser) -> list[str]:
    actions = [a for a in parser._actions if a.dest != "help" and not isinstance(a, argparse._SubParsersAction)]
    if not actions:
        return []
    return [
        "\n| argument | what it is |\n|---|---|\n",
        *(f"| `{_argument(action)}` | {cell(action.help or '')} |\n" for action in actions),
    ]


def _argument(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return f"{value}..." if action.nargs in ("*", "+") else value
    if isinstance(action, argparse.BooleanOptionalAction):
        return ", ".join(action.option_strings)
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {value}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hslpy.cli.reference", description="Write the reference pages.")
    parser.add_argument("folder", type=Path, help="where the pages are")
    parser.add_argument("--check", action="store_true", help="only say which pages differ from the tables")
    arguments = parser.parse_args(argv)
    wrong = []
    for name, text in pages().items():
        file = arguments.folder / name
        if not file.is_file() or file.read_text("utf-8") != text:
            wrong.append(name)
            if not arguments.check:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, "utf-8")
    for name in wrong:
        print(f"{arguments.folder / name}: {'not what the tables say' if arguments.check else 'written'}")
    return 1 if wrong and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
