"""`hslpy config`: all settings with their defaults and help, or those of a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from hslpy.cli.command import Command
from hslpy.config import read_settings
from hslpy.config.load import as_toml
from hslpy.config.settings import ROWS


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="check this file and print what it comes to")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.config is None:
        print("# All settings with their defaults; a file needs only those that differ.")
        print(as_toml(ROWS, None), end="")
    else:
        settings = read_settings(arguments.config)
        print(as_toml(ROWS, settings.values, settings.given), end="")
    return 0


COMMAND = Command(
    "config",
    "print all settings with defaults and help, or check a file",
    _add_arguments,
    _run,
    description="Prints every setting as a TOML file. With --config FILE: checks the file and prints what it comes to.\n"
    "Any setting outside repeated tables can also be given as HSLPY_<SECTION>_<NAME> in the environment.",
)
