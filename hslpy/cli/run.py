"""`hslpy run FILE`: one script, outside of hooks or at one, with what it echoes and its verdict."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from socket import gethostname

from hslpy.cli.command import Command
from hslpy.client.http_contract import HttpClient, HttpSettings
from hslpy.client.lookup_contract import Lookups
from hslpy.client.on_demand import HttpOnDemand, LookupsOnDemand
from hslpy.clock import SystemClock
from hslpy.config import Settings, read_settings
from hslpy.dns.hosts import addresses_of
from hslpy.dns.resolver import DnsResolver, ResolverSettings
from hslpy.errors import OperatorError, ScriptError
from hslpy.lang.diagnostics import Diagnostic, render
from hslpy.lang.profiles import PROFILES, ProfileChoice, profile_of
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Limits
from hslpy.log import no_log
from hslpy.rate.memory import MemoryRateCounters
from hslpy.tooling.bench import Bench, empty_queue, note_of, rendered, services_in_memory
from hslpy.tooling.events import DEFAULT_CONTENT, FACTS, facts_from_texts, make_event
from hslpy.tooling.notation import readable
from hslpy.tooling.outbox import KeptOutbox
from hslpy.tooling.verdicts import verdict_lines


def add_hook_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` and `repl` share."""
    parser.add_argument("--hook", metavar="NAME", help="the hook: its variables, its functions and its verdict")
    parser.add_argument("--message", type=Path, metavar="FILE", help="the message, as a file with header and body")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"a variable of the hook, any number of times: {', '.join(fact.name for fact in FACTS)}",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings with scanners, DNS, sources and limits")
    add_profile_argument(parser)


def add_profile_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --profile."""
    names = ", ".join(row.name for row in PROFILES)
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help=f"the year that scripts are written for, where the settings name no other for them: {names}, or a release",
    )


def profiles_of(arguments: argparse.Namespace, settings: Settings | None = None) -> ProfileChoice:
    """Give the profiles of the settings, with that of --profile for what they do not name. Raises OperatorError."""
    choice = settings.profiles if settings is not None else ProfileChoice()
    return choice if arguments.profile is None else replace(choice, default=profile_of(arguments.profile))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the script")
    add_hook_arguments(parser)


def _run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_run_file(arguments))


async def _run_file(arguments: argparse.Namespace) -> int:
    bench = make_bench(arguments)
    try:
        given, content = read_facts(arguments)
        programs, findings = bench.load([arguments.file], arguments.hook)
        report(findings)
        if any(finding.is_error for finding in findings):
            if arguments.hook is None and any(finding.code == "E207" for finding in findings):
                print("(this is the script of a hook: --hook NAME runs it there)", file=sys.stderr)
            return 1
        if arguments.hook is None:
            return await _plain(bench, programs)
        event = make_event(arguments.hook, given, content, bench.clock.time())
        trial = await bench.run_hook(programs, arguments.hook, event)
        if trial.error is not None:
            print(trial.error, file=sys.stderr)
        for line in verdict_lines(trial.verdict):
            print(readable(line))
        return 0 if trial.error is None else 1
    finally:
        await bench.services.close()


async def _plain(bench: Bench, programs: Sequence[Program]) -> int:
    try:
        for program in programs:
            await bench.run_plain(program, print_bytes)
    except (ScriptError, LimitExceeded) as error:
        sys.stdout.flush()
        print(rendered(error), file=sys.stderr)
        return 1
    return 0


def make_bench(arguments: argparse.Namespace) -> Bench:
    """Give a bench with counters in memory; scanners, DNS, sources and limits are those of --config where given."""
    clock = SystemClock()
    if arguments.config is None:
        resolver = DnsResolver(ResolverSettings(), clock)

        lookup = partial(addresses_of, resolver)

        def make_http() -> HttpClient:
            from hslpy.client.http import AiohttpClient  # 0.2 s that a run without http() need not wait for

            return AiohttpClient(HttpSettings(), clock, lookup, log_note)

        def make_lookups() -> Lookups:
            from hslpy.client.lookups import RealLookups
            from hslpy.delivery.plan import TargetRules
            from hslpy.delivery.targets import hosts_of

            return RealLookups(lookup, partial(hosts_of, resolver, random.SystemRandom(), TargetRules()), gethostname())

        services = services_in_memory(
            clock, resolver=resolver, http=HttpOnDemand(make_http), lookups=LookupsOnDemand(make_lookups)
        )
        return Bench(
            services, clock=clock, limits=Limits(), profiles=profiles_of(arguments), on_echo=print_bytes, on_note=note
        )
    from hslpy.app import make_services  # a whole server: 0.2 s that a run without settings need not wait for

    settings = read_settings(arguments.config)
    services = make_services(settings, clock, MemoryRateCounters(settings.rate, clock, no_log), empty_queue, log_note)
    services = replace(services, outbox=KeptOutbox())
    return Bench(
        services,
        clock=clock,
        limits=settings.limits,
        library=settings.search_path,
        profiles=profiles_of(arguments, settings),
        on_echo=print_bytes,
        on_note=note,
    )


def read_facts(arguments: argparse.Namespace) -> tuple[dict[str, object], bytes]:
    """Give the facts of --set and the message of --message. Raises OperatorError."""
    if arguments.hook is None and (arguments.set or arguments.message):
        raise OperatorError("--set and --message are for a hook", hint="name it with --hook")
    pairs: dict[str, str] = {}
    for text in arguments.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise OperatorError(f"--set wants NAME=VALUE, got {text!r}")
        pairs[name.removeprefix("$")] = value.encode().decode("latin-1")
    if arguments.message is None:
        return facts_from_texts(pairs), DEFAULT_CONTENT
    try:
        content = arguments.message.read_bytes()
    except OSError as error:
        raise OperatorError(f"can't read the message {arguments.message}: {error.strerror}") from error
    return facts_from_texts(pairs), with_crlf(content)


def with_crlf(content: bytes) -> bytes:
    """Give a message with CRLF line ends, as the server has them, whatever its file has."""
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def report(findings: Sequence[Diagnostic]) -> None:
    """Print findings to standard error."""
    for finding in findings:
        print(f"{render(finding)}\n", file=sys.stderr)


def note(text: str) -> None:
    """Print what a server would log."""
    print(text, file=sys.stderr)


def log_note(event: str, fields: Mapping[str, object]) -> None:
    """Print an event that is none of a script's own."""
    note(note_of(event, fields))


def print_bytes(text: str) -> None:
    """Print a script's text: its bytes as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("latin-1", "replace") + b"\n")
    sys.stdout.buffer.flush()


COMMAND = Command(
    "run",
    "run a script, outside of hooks or at one",
    _add_arguments,
    _run,
    description="Runs a script and prints what it echoes, one line an echo; with --hook also its verdict.\n"
    "Counters and memory are fresh. Exit status 1 on a script error.",
)
