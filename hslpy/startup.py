"""What our processes have in common as they start: event loop, data folder, scripts. In: `Settings`. Out: the same, placed.

Imports next to nothing, so that the page's process and a supervisor have nothing of a mail server in them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hslpy.errors import OperatorError
from hslpy.log import Log
from hslpy.records import dataclass

if TYPE_CHECKING:
    from hslpy.config import Settings
    from hslpy.hooks.files import Snapshot
    from hslpy.hooks.scripts import HookSettings

LOCK_WAIT_S = 10.0  # how long a spool is waited for, that workers of a server just killed are leaving
STOP_GRACE_S = 20.0  # below the 30 s that service managers commonly wait before they kill


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker is started with. The listeners in `settings` have real ports."""

    settings: Settings
    worker: int
    workers: int
    scripts: Snapshot

    def frame(self) -> bytes:
        """Give it as it is sent."""
        content = pickle.dumps(self)
        return len(content).to_bytes(8, "big") + content


def packed(scripts: Snapshot) -> str:
    """Give a set of scripts as a question to a worker carries it."""
    return base64.b64encode(pickle.dumps(scripts)).decode()


def packaged_hooks() -> dict[str, tuple[Path, ...]]:
    """Give the packaged script of each hook that has one: `hooks/<hook>.hsl`."""
    from hslpy.hooks.files import packaged_scripts

    return {file.stem: (file,) for file in sorted((packaged_scripts() / "hooks").glob("*.hsl"))}


def make_data_dir(folder: Path, log: Log) -> None:
    """Make the data folder where it is missing; warn where others could put another spool in it. Raises OperatorError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
            fields = {"level": "warning", "folder": folder, "mode": f"{found.st_mode & 0o7777:04o}", "uid": found.st_uid}
            log("server.data_dir_open", fields)
    except OSError as error:
        hint = "server.data_dir names it; the server's user must be able to write there"
        raise OperatorError(f"cannot make the data folder {folder}: {error.strerror}", hint=hint) from error


def hook_settings(settings: Settings) -> HookSettings:
    """Give what `hooks` wants: the settings' scripts, over the packaged ones where these are on."""
    from hslpy.hooks.files import packaged_scripts
    from hslpy.hooks.scripts import HookSettings
    from hslpy.lang.profiles import NEWEST

    scripts = {hook: files for hook, files in settings.hooks.items() if files}
    if settings.packaged_hooks:
        scripts = {**packaged_hooks(), **scripts}
    own = dict.fromkeys(file.parent for files in scripts.values() for file in files)
    beside = () if settings.file is None else (settings.file.parent,)
    return HookSettings(
        scripts=scripts,
        limits=settings.limits,
        library=settings.search_path,
        cache=settings.cache_dir,
        profiles=replace(settings.profiles, by_path={packaged_scripts(): NEWEST, **settings.profiles.by_path}),
        folders=(*own, *beside, *settings.file_folders),
    )


def run(main: Callable[[], Awaitable[Any]], *, uvloop: bool) -> Any:
    """Run `main()` on a new event loop: uvloop's where wanted and there."""
    factory = None
    if uvloop:
        with contextlib.suppress(ImportError):
            import uvloop as fast

            factory = fast.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_awaited(main))


async def _awaited(main: Callable[[], Awaitable[Any]]) -> Any:
    return await main()
