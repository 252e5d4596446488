"""`hslpy check PATH...`: what is wrong with scripts, before any mail meets them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hslpy.admin.settings import MINIMUM_VERSION
from hslpy.cli.command import Command
from hslpy.cli.run import add_profile_argument, profiles_of
from hslpy.client.certificates import CertificateFiles, fault_of_time, read_certificate
from hslpy.clock import SystemClock
from hslpy.config import read_settings
from hslpy.errors import OperatorError
from hslpy.hooks.scripts import check_hooks
from hslpy.lang.diagnostics import render
from hslpy.startup import hook_settings
from hslpy.tooling.check import ANY, TEST, Checked, check_file
from hslpy.tooling.explain import page_of
from hslpy.tooling.run_tests import find_files
from hslpy.users.file import load_users


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="script, or a folder of *.hsl files")
    parser.add_argument("--hook", metavar="NAME", help="the hook that the scripts are for, instead of what their names say")
    parser.add_argument("--config", type=Path, metavar="FILE", help="check these settings, and what files they name")
    parser.add_argument("--explain", metavar="CODE", help="say what a diagnostic means, with an example and its cure")
    add_profile_argument(parser)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.explain is not None:
        print(page_of(arguments.explain))
        return 0
    if not arguments.paths and arguments.config is None:
        raise OperatorError("`check` wants scripts, folders or --config FILE", hint="try `hslpy check scripts`")
    if arguments.hook is not None:
        check_hooks({arguments.hook: ()})
    work: list[tuple[Path, str | None]] = [(file, arguments.hook) for file in find_files(arguments.paths, ".hsl")]
    library: tuple[Path, ...] = ()
    folders: tuple[Path, ...] | None = None
    profiles = profiles_of(arguments)
    if arguments.config is not None:
        settings = read_settings(arguments.config)
        library = settings.search_path
        profiles = profiles_of(arguments, settings)
        hooks = hook_settings(settings)
        folders = hooks.folders
        work += [(file, hook) for hook, files in hooks.scripts.items() for file in files]
        for hook, files in hooks.scripts.items():
            for file in files:
                if not file.is_file():
                    raise OperatorError(f"there is no script {file}", hint=f"`hooks.{hook}` of {arguments.config} names it")
        pairs: list[tuple[CertificateFiles, str]]
        pairs = [(pair, settings.smtp.tls_minimum_version) for pair in settings.smtp.certificate_files]
        if settings.admin.files is not None:
            pairs.append((settings.admin.files, MINIMUM_VERSION))
        for pair, minimum_version in pairs:
            fault = fault_of_time(read_certificate(pair, minimum_version), SystemClock().time())
            if fault:
                print(f"warning: the certificate {fault}", file=sys.stderr)
        if settings.smtp.users_file is not None:
            load_users(settings.smtp.users_file)
    if not work:
        print("no scripts found: they are in files named *.hsl")
        return 1 if arguments.config is None else 0  # a server needs none
    return _report([check_file(file, hook, library, profiles, folders) for file, hook in work])


def _report(all_checked: list[Checked]) -> int:
    """Print each finding once, and the count."""
    seen: dict[str, bool] = {}
    for checked in all_checked:
        new = {text: f.is_error for f in checked.findings if (text := render(f)) not in seen}
        for text in new:
            print(f"{text}\n")
        if any(new.values()) and checked.guessed and checked.place not in (ANY, TEST):
            print(f"({checked.file} was taken for a script of hook {checked.place}; --hook NAME says otherwise)\n")
        seen |= new
    errors = sum(seen.values())
    print(f"{_count(len(all_checked), 'file')} checked: {_count(errors, 'error')}, {_count(len(seen) - errors, 'warning')}")
    return 1 if errors else 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


COMMAND = Command(
    "check",
    "check scripts without running them",
    _add_arguments,
    _run,
    description="Prints errors and warnings of scripts with their places. The hook of a script is taken from its name\n"
    "(rcptto.hsl, pre-delivery.hsl); other files are checked as modules, with what all hooks have. Exit status 1 on errors.",
)
