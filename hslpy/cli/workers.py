"""`hslpy workers`: how each process of a running server fares, over its control socket."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hslpy.cli.command import Command
from hslpy.cli.queue import request
from hslpy.config import read_settings

_COLUMNS = ("worker", "state", "pid", "uptime_s", "connections", "queued", "attempts", "restarts")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the server's settings (default: those of `hslpy serve`)"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _run(arguments: argparse.Namespace) -> int:
    result = request(read_settings(arguments.config).control_path, "workers", {})
    rows = result["workers"]
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print("  ".join(f"{name:>11}" for name in _COLUMNS))
        for row in rows:
            print(
                "  ".join(f"{_shown(row.get(name)):>11}" for name in _COLUMNS) + (f"  {row['why']}" if "why" in row else "")
            )
    return 0 if all("why" not in row for row in rows) else 1


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


COMMAND = Command(
    "workers",
    "show how the processes of a running server fare",
    _add_arguments,
    _run,
    description="Shows a line a process: its state, process id, connections, queued recipients, attempts under way, and\n"
    "how often it was started again. The exit status is 1 when one is not running or does not answer.",
)
