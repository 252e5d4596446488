"""A spool on a disk without a byte left: `python -m tests.spool.full_disk HOW`, which mounts a small disk for itself.

Mail is stored, then something else fills the disk: while the spool is open (`live`), after its process died (`killed`),
after it was closed (`closed`), or died without a reserve (`bare`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.spool import writer
from hslpy.spool.contract import Remove
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.spool.messages import message

MAIL = 200
BODY = b"x" * 40_000
DISK = "96m"


async def store(settings: SpoolSettings) -> SqliteSpool:
    spool = SqliteSpool(settings)
    await spool.open()
    while settings.reserve_bytes and not (settings.folder / "reserve").exists():
        await asyncio.sleep(0.01)
    await asyncio.gather(*(spool.store(message(body=BODY)) for _ in range(MAIL)))
    return spool


def fill(disk: Path) -> None:
    with open(disk / "other", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(disk).f_bavail == 0


async def drain(spool: SqliteSpool) -> None:
    """Remove one by one: each is a commit, and together they write more than a disk without a byte left would take."""
    queued = [entry.queue_id async for batch in spool.recover() for entry in batch]
    assert len(queued) == MAIL
    for queue_id in queued:
        await spool.apply([Remove(queue_id)])
    await spool.close()


async def main(disk: Path, how: str) -> None:
    writer._RESERVE_EACH_S, writer._IDLE_S = 0.0, 0.02  # type: ignore[misc]
    settings = SpoolSettings(disk / "spool", min_free_bytes=30 << 20, reserve_bytes=0 if how == "bare" else 16 << 20)
    if how in ("killed", "bare"):
        if not (child := os.fork()):
            asyncio.events._set_running_loop(None)
            asyncio.run(store(settings))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - nothing else runs here
    else:
        spool = await store(settings)
        if how == "closed":
            await spool.close()
    fill(disk)
    if how == "bare":
        try:
            await SqliteSpool(settings).open()
        except OperatorError as error:
            assert "is full: 0 KiB free, " in error.message and "KiB wanted to start" in error.message, error.message
            (disk / "other").unlink()
    if how != "live":
        spool = SqliteSpool(settings)
        await spool.open()
    if how != "bare":
        await drain(spool)
        (disk / "other").unlink()
        spool = SqliteSpool(settings)
        await spool.open()
    left = [entry async for batch in spool.recover() for entry in batch]
    assert len(left) == (MAIL if how == "bare" else 0)
    assert spool.stats().set_aside == ()
    await spool.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder], check=True)
        try:
            asyncio.run(main(Path(folder), sys.argv[1]))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    print("as it should be")
