"""Brings spools of earlier versions up, killed and out of room at each I/O call on the way: run under `disk_shim`.

usage: python -m tests.spool.upgrades FOLDER; the spools are real ones, `old/version-N.db.gz`, with six messages of two
recipients, two of them gone, every other body in a file.
"""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import shutil
import sqlite3
import sys
import traceback
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.spool import schema
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.spool.messages import message
from tests.support import disk_shim

OLD = Path(__file__).with_name("old")


def lay_out(folder: Path, version: int) -> None:
    """Put a spool of the version into `folder`."""
    shard = folder / "bodies" / "000"
    shard.mkdir(mode=0o700, parents=True)
    (folder / "spool.db").write_bytes(gzip.decompress((OLD / f"version-{version}.db.gz").read_bytes()))
    for number in (1, 3, 5):
        (shard / f"{number * 2 + 1}.-1").write_bytes(body_of(number))


def body_of(number: int) -> bytes:
    return b"line %d\r\n" % number * (400 if number % 2 else 10)


async def check(folder: Path, version: int) -> None:
    """Open the spool, and check that all of the old is there and new mail is taken."""
    spool = SqliteSpool(SpoolSettings(folder, min_free_bytes=0))
    await spool.open()
    entries = [entry async for batch in spool.recover() for entry in batch]
    assert [entry.queue_id for entry in entries] == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]
    for entry in entries:
        number = int(entry.metadata["n"])
        subject = b"Subject: old %d" % number if entry.variant < 0 else b"Subject: variant %d" % number
        content = await spool.read(entry.message_id, entry.variant)
        assert content == subject + b"\r\n\r\n" + body_of(number)
        assert entry.hold == (number == 3) and entry.tenant_id == "" and entry.transaction_id == f"t{number}"
    assert (entries[2].retries, entries[2].last_error) == (2, "not now")
    (new,) = await spool.store(message())
    assert new.queue_id == 13 and spool.stats().set_aside == ()
    await spool.close()
    connection = sqlite3.connect(folder / "spool.db")
    assert connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone() == (schema.VERSION,)
    connection.close()


def brought_up(folder: Path, call: int, error: int) -> bool:
    """Open the spool in a child that is killed at the I/O call, or finds the disk failing from it on; False when it came
    through unharmed.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            if error:
                disk_shim.fail_after(call, folder, error)
            else:
                disk_shim.kill_after(call, torn=True)
            asyncio.run(SqliteSpool(SpoolSettings(folder, min_free_bytes=0)).open())
            status = 3 if disk_shim.calls_left() >= 0 else 0
        except OperatorError:
            status = 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (-9, 0, 2, 3), status
    return status != 3


def main(place: Path) -> None:
    for version in range(1, schema.VERSION):
        for error in (0, errno.ENOSPC, errno.EIO):
            call, more = 0, True
            while more:
                folder = place / f"{version}-{error}-{call}"
                lay_out(folder, version)
                more = brought_up(folder, call, error)
                asyncio.run(check(folder, version))
                shutil.rmtree(folder)
                call += 1
            print(f"version {version}, {errno.errorcode.get(error, 'killed')}: {call} calls")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
