"""`hslpy serve`: the server, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hslpy.cli.command import Command
from hslpy.clock import SystemClock
from hslpy.config import Settings, read_settings
from hslpy.event_log import EventLog, set_up_logging
from hslpy.startup import hook_settings, run
from hslpy.web import WebProcess

if TYPE_CHECKING:
    from hslpy.app import App
    from hslpy.supervisor import Supervisor


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (TOML); `hslpy config` prints all settings"
    )


def _run(arguments: argparse.Namespace) -> int:
    settings = read_settings(arguments.config)
    umask = os.umask(0o077)  # mail and its envelope are nobody else's
    try:
        events = set_up_logging(sys.stderr, settings.log_level, settings.log_format, SystemClock())
        run(lambda: _serve(settings, events), uvloop=settings.uvloop)
    finally:
        os.umask(umask)
    return 0


async def _serve(settings: Settings, events: EventLog) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    server: App | Supervisor
    if settings.workers == 1:
        from hslpy.app import App, Overrides  # a supervisor has none of this in it

        server = App(settings, Overrides(log=events.write))
    else:
        from hslpy.supervisor import Supervisor

        server = Supervisor(settings, events.write)
    reloads: set[asyncio.Task[bool]] = set()
    started = asyncio.Event()

    async def reload() -> bool:
        await started.wait()  # what has changed since may have been read before
        return await server.reload()

    def hang_up() -> None:
        task = asyncio.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    await server.start()
    started.set()
    print(_greeting(server), flush=True)
    web = WebProcess(settings, events.write) if settings.egress.database else None
    if web is not None:
        web.start()
    await stopping.wait()
    print("stopping: letting transactions and attempts under way finish", flush=True)
    await asyncio.gather(server.stop(), *((web.stop(),) if web is not None else ()))


def _greeting(server: App | Supervisor) -> str:
    settings = server.settings
    lines = [f"hslpy {settings.hostname}: settings from {settings.file or 'no file (the defaults)'}"]
    lines += [f"  listening   {host} port {port} ({server_id})" for host, port, server_id in server.listening]
    scripts = hook_settings(settings).scripts
    lines += [f"  script      {hook}: {', '.join(str(file) for file in files)}" for hook, files in scripts.items()]
    if not scripts:
        lines.append("  script      none: every hook takes its default, see docs/guide/hooks.md")
    lines.append(f"  data        {settings.data_dir} ({server.queued} queued)")
    if settings.workers > 1:
        lines.append(f"  workers     {settings.workers}: `hslpy workers` shows how they fare")
    lines.append(f"  counters    {'in Redis' if settings.rate.store == 'redis' else 'in memory'}")
    pages = [settings.admin.url(address) for address in settings.admin.addresses if address.port]
    if settings.egress.database and pages:
        lines.append(f"  page        {', '.join(pages)}")
    host, port, _ = server.listening[0]
    config = f" --config {settings.file}" if settings.file else ""
    lines += [
        "Try next:",
        f"  swaks --server {host}:{port} --from you@example.com --to someone@example.net",
        f"  hslpy queue{config} list",
        "  hslpy config          all settings, for a file of your own",
        "  hslpy demo            a whole system at work, on loopback",
    ]
    return "\n".join(lines)


COMMAND = Command(
    "serve",
    "run the server",
    _add_arguments,
    _run,
    description="Runs the server until SIGTERM or Ctrl-C; SIGHUP loads scripts and certificates anew. Without --config:\n"
    "loopback port 2525, the packaged scripts, counters in memory. Changed scripts are taken up without a restart; scripts\n"
    "with errors leave the old ones running.",
)
