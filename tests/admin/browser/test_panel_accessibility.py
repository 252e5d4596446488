"""The pages of the panel by axe-core, light and dark, wide and narrow: no serious fault, and nothing lost at 320 pixels."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from .test_panel import PAGES, control, server, web

__all__ = ["control", "server", "web"]

MORE = (
    "/", "/outgoing/queue", "/outgoing/queue/message/3", "/outgoing/log",
    "/outgoing/delivery-ips/warm-up?address=198.51.100.14",
    "/outgoing/delivery-ips/warm-up/order?do=plan&address=198.51.100.14", "/access/admins/new",
)  # fmt: skip


@pytest.mark.parametrize(("size", "theme"), [("wide", "light"), ("narrow", "dark")])
def test_no_page_has_a_serious_fault(visit, size: str, theme: str) -> None:
    page = visit("/", size=size, theme=theme)
    bad = {}
    for path in (*PAGES, *MORE):
        page.goto(path)
        page.evaluate("document.querySelectorAll('details:not(.menu)').forEach((one) => { one.open = true; })")
        found = [
            f"{one['id']}: {node['html']} {node['failureSummary']}"
            for one in Axe().run(page).response["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.append(f"{wide} pixels too wide")
        if found:
            bad[path] = found
    assert not bad
