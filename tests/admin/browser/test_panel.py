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


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_queue_and_message(visit, size: str) -> None:
    page = visit("/outgoing/queue", size=size)
    page.get_by_text("11 queued recipients").first.wait_for()
    shot(page, f"panel-queue-{size}")
    page.get_by_role("link", name="to2@gmail.example").click()
    page.get_by_role("heading", name="Attempts").wait_for()
    shot(page, f"panel-message-{size}")
    page.get_by_role("button", name="Remove: to2@gmail.example").click()
    page.get_by_role("heading", name="Remove: 1 recipient?").wait_for()
    shot(page, f"panel-message-remove-{size}")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("1 recipient removed").wait_for()


def test_deliveries(visit) -> None:
    page = visit("/outgoing/log?address=198.51.100.11")
    page.get_by_text("8 attempts").first.wait_for()
    shot(page, "panel-deliveries")
