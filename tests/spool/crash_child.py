"""A process that stores and removes until it is killed, and says on stdout what it was told is done.

usage: python -m tests.spool.crash_child FOLDER SEED [POINT COUNT]: with a point, it kills itself there. Under `disk_shim`
the point `record` has all I/O recorded in FOLDER.record, what it says among it, until each session has stored COUNT.
Lines: `+ID CRC` stored, `~ID N` retries set to N, `-ID` removal asked for, `=ID` removed,
`?ID` removal for a report asked for, `!ID` done.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import sys
import zlib
from pathlib import Path
from typing import Any

from hslpy.spool import schema, segments, writer
from hslpy.spool.contract import QueuedRecipient, Remove, Update
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.spool.messages import message, recipient
from tests.support import disk_shim


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())
    if disk_shim.loaded():
        disk_shim.note(text)


async def main(folder: Path, seed: int, point: str, count: int) -> None:
    passed = 0

    def at(step: str) -> None:
        nonlocal passed
        if step == point:
            passed += 1
            if passed == count:
                os.kill(os.getpid(), signal.SIGKILL)

    small: Any = writer  # most bodies in segments, many of these, and emptied often
    small._SEGMENT_BODY_BYTES, small._SEGMENT_BATCH_BYTES, small._VACUUM_EACH = 2000, 10_000, 3
    segments.SEGMENT_BYTES = 200_000
    if point == "record":
        schema.CHECKPOINT_PAGES = 40  # several checkpoints in a short record
        disk_shim.record(folder.with_suffix(".record"), folder)
    spool = SqliteSpool(SpoolSettings(folder, body_file_above_bytes=20_000, min_free_bytes=0), at)
    await spool.open()
    rng = random.Random(seed)
    everything: list[QueuedRecipient] = [entry async for batch in spool.recover() for entry in batch]
    alive = [entry for entry in everything if "of" not in entry.metadata]

    async def session(left: float) -> None:
        while left > 0:
            left -= 1
            body = rng.randbytes(rng.choice((10, 5000, 15_000, 30_000)))
            contents = (body, body[::-1])
            crcs = [zlib.crc32(content) for content in contents]
            new = message(
                recipient(metadata={"crc": str(crcs[0])}),
                recipient(metadata={"crc": str(crcs[1])}, variant=0),
                header=b"",
                body=contents[0],
                variants=((None, contents[1]),),
            )
            for entry in await spool.store(new):
                say(f"+{entry.queue_id} {entry.metadata['crc']}")
                alive.append(entry)
            if len(alive) > 30:
                entry = alive.pop(rng.randrange(len(alive)))
                await spool.apply([Update(entry.queue_id, {"retries": 7})])
                say(f"~{entry.queue_id} 7")
                if rng.random() < 0.5:
                    crc = str(zlib.crc32(body))
                    report = message(recipient(metadata={"crc": crc, "of": str(entry.queue_id)}), header=b"", body=body)
                    say(f"?{entry.queue_id}")
                    await spool.apply([Remove(entry.queue_id)], report)
                    say(f"!{entry.queue_id}")
                    continue
                say(f"-{entry.queue_id}")
                await spool.apply([Remove(entry.queue_id)])
                say(f"={entry.queue_id}")

    say("ready")
    await asyncio.gather(*(session(count if point == "record" else math.inf) for _ in range(12)))
    await spool.close()


if __name__ == "__main__":
    arguments = sys.argv[1:] + ["", "0"][len(sys.argv) - 3 :]
    asyncio.run(main(Path(arguments[0]), int(arguments[1]), arguments[2], int(arguments[3])))
