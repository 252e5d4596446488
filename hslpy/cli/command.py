"""What a command is: a row with its arguments and its function. In: nothing. Out: `Command`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `run` gets the parsed arguments and gives the exit status."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    description: str = ""
