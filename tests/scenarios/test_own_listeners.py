"""Mail that would come back to us is bounced, wherever we listen."""

from __future__ import annotations

import asyncio

import pytest

from tests.scenarios.harness import server


@pytest.mark.parametrize(
    ("listen", "target"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "127.0.0.14"), ("0.0.0.0", "192.0.2.7")],
)
def test_a_listener_whose_port_the_system_chose_is_known_as_ours(tmp_path, listen, target):
    (tmp_path / "pre.hsl").write_text("")
    settings = f'[hooks]\nreload_check_s = 0\npredelivery = "{tmp_path}/pre.hsl"\n'
    settings += '[[source]]\nid = "netaddr:1"\naddress = "192.0.2.7"\n'

    async def scenario():
        async with server(tmp_path, settings, listen=listen) as s:
            (tmp_path / "pre.hsl").write_text(f'Try(["host" => "{target}", "port" => {s.port}]);')
            assert await s.app.reload_if_changed()
            client = await s.client()
            assert (await client.send("", "b@example.net")).startswith("250 2.0.0 ")
            await s.until(lambda: s.events()["delivery.bounced"])
            assert "ourselves" in str(s.fields_of("delivery.bounced")[0]["reason"])
            assert s.app.delivery.counts == {"bounced": 1}

    asyncio.run(scenario())
