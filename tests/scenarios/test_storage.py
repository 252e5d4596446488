"""What clients hear while the disk is full, and after."""

from __future__ import annotations

import asyncio

import pytest

from hslpy.admin.control import ControlServer
from hslpy.clock import ManualClock
from hslpy.errors import OperatorError
from hslpy.log import no_log
from hslpy.spool.folder import Folder
from hslpy.startup import make_data_dir
from tests.scenarios.harness import server

FULL = "452 4.3.1 Insufficient system storage"


def test_mail_is_refused_while_the_disk_is_full_and_taken_again_when_there_is_room(tmp_path, monkeypatch):
    free = 1 << 40
    monkeypatch.setattr(Folder, "free_bytes", lambda folder: free)
    monkeypatch.setattr("hslpy.spool.writer._MEASURE_EACH_S", 0.0)
    clock = ManualClock()

    async def scenario():
        nonlocal free
        async with server(tmp_path, deliver=False, clock=clock) as s:
            client = await s.client()
            assert (await client.send("a@example.com", "b@example.net")).startswith("250 2.0.0 ")
            free = 0
            assert await client.send("a@example.com", "b@example.net") == FULL  # seen by the commit, at the end of DATA

            for _ in range(3):
                clock.advance(1.0)
                await s.until(lambda: s.events()["spool.full"])
                assert await client.say("MAIL FROM:<a@example.com>") == FULL
            assert [fields["level"] for fields in s.fields_of("spool.full")] == ["error"]

            free = 1 << 40
            await s.until(lambda: not s.app.spool.stats().full)
            clock.advance(1.0)
            await s.until(lambda: s.events()["spool.has_room"])
            assert (await client.send("a@example.com", "b@example.net")).startswith("250 2.0.0 ")
            assert len(s.app.queue) == 2 and s.events()["spool.full"] == s.events()["spool.has_room"] == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("mode", "warned"), [(0o700, False), (0o755, False), (0o775, True), (0o777, True)])
def test_a_data_folder_that_others_may_change_is_warned_of(tmp_path, mode, warned):
    log = []
    tmp_path.chmod(mode)
    make_data_dir(tmp_path, lambda event, fields: log.append((event, fields["mode"])))
    assert log == ([("server.data_dir_open", f"{mode:04o}")] if warned else [])


def test_what_stands_where_the_control_socket_goes(tmp_path):
    """A folder there is the operator's to take away; a link is taken away, and what it leads to stays."""

    async def start(path):
        control = ControlServer(path, {}, no_log)
        await control.start()
        await control.stop()

    (tmp_path / "folder").mkdir()
    with pytest.raises(OperatorError, match="can't listen at"):
        asyncio.run(start(tmp_path / "folder"))
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    asyncio.run(start(tmp_path / "link"))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


def test_a_disk_that_is_full_at_the_start_is_known_before_the_first_client(tmp_path, monkeypatch):
    monkeypatch.setattr(Folder, "free_bytes", lambda folder: 0)

    async def scenario():
        async with server(tmp_path, deliver=False, clock=ManualClock()) as s:
            client = await s.client()
            await client.say("EHLO client.example.com")
            assert await client.say("MAIL FROM:<a@example.com>") == FULL

    asyncio.run(scenario())
