"""The pages in a real browser: the web application on a loopback port, a seeded database, headless Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hslpy.admin.guard import Guard
from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.admin.who import COOKIE
from hslpy.clock import ManualClock
from hslpy.egress.accounts.sessions import open_session
from hslpy.egress.store.database import Database

from .seed import PASSWORD, seed

START = 1_767_607_200.0  # 2026-01-05 10:00 UTC
SHOTS = os.environ.get("HSLPY_TEST_SHOTS", "")
SIZES = {"wide": (1280, 900), "phone": (390, 844), "narrow": (320, 640)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


class Web:
    """A running web application. `faults` are the requests that failed by a fault of the server."""

    def __init__(self, site: Site, port: int, faults: list[object]) -> None:
        self.site, self.database, self.url, self.faults = site, site.database, f"http://127.0.0.1:{port}", faults


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def control() -> Path | None:
    """The control socket of a mail server; a file of tests may have one."""
    return None


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database file that tests copy."""
    path = tmp_path_factory.mktemp("seeded") / "egress.db"
    clock = ManualClock(START)
    database = Database(f"sqlite:///{path}", clock)
    database.open()
    seed(database, clock)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture
def web(seeded: Path, tmp_path: Path, clock: ManualClock, control: Path | None) -> Iterator[Web]:
    shutil.copy(seeded, tmp_path / "egress.db")
    database = Database(f"sqlite:///{tmp_path / 'egress.db'}", clock)
    faults: list[object] = []

    def log(event: str, fields: object) -> None:
        if event == "admin.fault":
            faults.append(fields)

    site = Site(database, clock, log, node="node1.example.net", control=control)
    listener = socket.create_server(("127.0.0.1", 0))
    app = Guard(web_app(site), log, tuple)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Web(site, listener.getsockname()[1], faults)
    finally:
        server.should_exit = True
        thread.join(60)
        database.close()
    assert not faults, faults


PATIENCE_MS = 60_000  # with all that is to come: a machine at work may take long, what does not come never does
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Give a browser for a file of tests: while its driver runs, no other test could begin an event loop."""
    with sync_playwright() as driver:
        path, arguments = "/usr/bin/chromium-headless-shell", ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(web: Web, chromium: Browser) -> Iterator[Visit]:
    """Give a function that opens a window: `visit(path, user=..., size=..., theme=..., script=...)`, signed in."""
    contexts = []
    broken: list[str] = []

    def open_window(
        path: str = "/", *, user: str = "root", size: str = "wide", theme: str = "light", script: bool = True
    ) -> Page:
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            java_script_enabled=script,
            base_url=web.url,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", lambda line: broken.append(line.text) if "Content Security Policy" in line.text else None)
        if user:
            text = open_session(web.database, user)
            context.add_cookies([{"name": COOKIE, "value": text, "url": web.url}])
        page.goto(path)
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert not broken


def sign_in(page: Page, user: str, password: str = PASSWORD) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def shot(page: Page, name: str) -> None:
    """Keep a picture of a page, where a folder for them is named in the environment."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
