"""What the 250 promised is there after a crash: the whole server is killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

from tests.scenarios.harness import ROOT, Client, server


def test_all_that_was_acknowledged_is_there_after_kill_9(tmp_path):
    (tmp_path / "hslpy.toml").write_text(
        f'[server]\nhostname = "mail.example.com"\ndata_dir = "{tmp_path}/data"\n'
        '[egress]\ndatabase = ""\n[[listen]]\nport = 0\n'
        '[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.1"\nport = 1\nallow_private_targets = true\n'
    )

    async def scenario():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hslpy", "serve", "--config", str(tmp_path / "hslpy.toml")),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONUNBUFFERED="1"),
        )
        port = 0
        while not port:
            line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
            assert line, "the server ended"
            if "listening" in line:
                port = int(line.split("port ")[1].split()[0])
        acknowledged: list[str] = []

        async def load(number: int) -> None:
            client = await Client.connect(port)
            for n in range(1000):
                reply = await client.send(f"a@d{number}.example", f"m{n}@example.net")
                acknowledged.append(reply.split("queued as ")[1].split()[0])

        tasks = [asyncio.create_task(load(n)) for n in range(10)]
        while len(acknowledged) < 300:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with server(tmp_path, deliver=False) as s:
            for transaction in acknowledged:
                assert await s.app.queue.of_transaction(transaction), f"{transaction} was lost"

    asyncio.run(scenario())
