"""`hslpy export editor [FOLDER]`: the language for editors, as this version knows it."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from hslpy.cli.command import Command
from hslpy.errors import OperatorError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["editor"], help="a TextMate grammar of HSL, for colours in editors")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="write a VS Code extension there")


def _run(arguments: argparse.Namespace) -> int:
    from hslpy.tooling.editor import extension, textmate_grammar  # the builtins take a moment to import

    if arguments.folder is None:
        print(json.dumps(textmate_grammar(), indent=2))
        return 0
    for name, document in extension(version("hslpy")).items():
        file = arguments.folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        except OSError as error:
            raise OperatorError(f"{file} cannot be written: {error.strerror}") from None
        print(f"{file}: written")
    return 0


COMMAND = Command(
    "export",
    "write the language's colours for editors",
    _add_arguments,
    _run,
    description="Prints a TextMate grammar of HSL, with the functions and variables of this version. With FOLDER: writes\n"
    "an extension for Visual Studio Code there, for instance to ~/.vscode/extensions/hsl; other editors take the\n"
    "file syntaxes/hsl.tmLanguage.json in it.",
)
