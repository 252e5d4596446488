"""All pages by axe-core, light and dark, wide and narrow: no serious fault, and nothing lost at 320 pixels."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from .conftest import shot

LIST = "/outgoing/delivery-ips"
PAGES = {
    "list": f"{LIST}?tab=settings&show=1&match=all&f=level&o=is+not&v=admin",
    "columns": f"{LIST}?tab=settings&show=1&match=all&do=columns",
    "new": f"{LIST}/new?level=identity&domain=example.com&hostname=node1.example.net",
    "edit": f"{LIST}/4/edit",
    "remove": f"{LIST}/remove?id=4",
    "csv": f"{LIST}/csv",
    "explain": f"{LIST}/explain?node=node1.example.net&domain=example.com&username=bob&identity=newsletter",
    "help": f"{LIST}/help",
    "helo": f"{LIST}/helo?address=198.51.100.11",
    "password": "/account/password",
    "missing": f"{LIST}?tab=nothing",
}


def faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {node['html']} {node['failureSummary']}" for one in bad for node in one["nodes"]]


@pytest.mark.parametrize(("size", "theme"), [("wide", "dark"), ("narrow", "light")])
def test_no_page_has_a_serious_fault(visit, size: str, theme: str) -> None:
    page = visit("/sign-in", user="root", size=size, theme=theme)
    bad = {}
    for name, path in PAGES.items():
        page.goto(path)
        page.wait_for_load_state("networkidle")
        shot(page, f"{name}-{size}-{theme}")
        found = faults(page)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.append(f"{wide} pixels too wide")
        if found:
            bad[name] = found
    assert not bad


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_door_has_no_serious_fault(visit, theme: str) -> None:
    page = visit("/sign-in", user="", size="narrow", theme=theme)
    assert not faults(page)


def test_targets_are_large_enough(visit) -> None:
    page = visit(PAGES["list"], size="narrow")
    small = page.evaluate(
        """[...document.querySelectorAll("button, summary, input, select, .tabs a, .side a")]
        .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect().height, one])
        .filter(([, height, one]) => one.checkVisibility() && !one.matches(".first") && height < 24
          && one.type !== "checkbox" && one.type !== "radio")
        .map(([text, height]) => `${text} ${height}`)"""
    )
    assert not small
