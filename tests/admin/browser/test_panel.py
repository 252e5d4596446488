"""Overview, customers, queue, messages, deliveries, nodes, audit, site settings: in a browser, for each role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ...support.mail_server import MailServer, mail_server
from ..busy import busy, mail
from .conftest import shot


@pytest.fixture
def server(tmp_path: Path, clock) -> Iterator[MailServer]:
    with mail_server(tmp_path / "control", clock) as found:
        mail(found, clock)
        yield found


@pytest.fixture
def control(server: MailServer) -> Path:
    return server.path


@pytest.fixture
def web(web, clock):
    busy(web.database, clock)
    return web


@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("wide", "dark"), ("phone", "light")])
def test_overview(visit, size: str, theme: str) -> None:
    page = visit("/", size=size, theme=theme)
    page.get_by_role("heading", name="To do today").wait_for()
    shot(page, f"panel-overview-{size}-{theme}")
