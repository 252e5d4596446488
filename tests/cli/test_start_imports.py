"""What `hslpy serve` imports before its first 220: nothing that can wait, which was half of the time that clients waited."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CAN_WAIT = {
    *("aiohttp", "alembic", "argon2", "fastapi", "httpx", "jinja2", "lark", "psycopg", "pygal", "redis", "sansldap"),
    *("sqlalchemy", "starlette", "uvicorn"),
    *("cryptography", "dns", "yaml"),  # imported beside the first sessions, or when a script asks
    *("ctypes", "decimal", "difflib", "importlib.metadata", "pyrad", "regex", "uuid"),
}
MAKE = """
import sys
from pathlib import Path
from hslpy.cli import parser
arguments = parser(["serve"]).parse_args(["serve", "--config", sys.argv[1]])
from hslpy.app import App
from hslpy.config import read_settings
import asyncio
async def start():
    app = App(read_settings(arguments.config))
    app.hooks.load()
    await app.spool.open()
    await app.spool.close()
asyncio.run(start())
print(*sys.modules)
"""


def test_a_start_imports_nothing_that_can_wait(tmp_path: Path) -> None:
    settings = tmp_path / "hslpy.toml"
    settings.write_text('[server]\ndata_dir = "data"\nhostname = "mx.example.test"\n')
    done = subprocess.run([sys.executable, "-c", MAKE, settings], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert CAN_WAIT.intersection(done.stdout.split()) == set()


def test_a_supervisor_and_the_page_have_no_mail_server_in_them() -> None:
    code = "import sys, hslpy.supervisor, hslpy.web, hslpy.cli.serve; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).split())
    server = {"hslpy.app", "hslpy.delivery.loop", "hslpy.smtp.server", "aiosmtpd", "aiosmtplib"}
    assert server.intersection(loaded) == set()


def test_our_dataclasses_are_those_of_records() -> None:
    """The standard library compiles the text of each method: that took 80 ms of each start."""
    folder = Path(__file__).parents[2] / "hslpy"
    wanted = re.compile(r"^ *from dataclasses import .*\bdataclass\b|dataclasses\.dataclass\b", re.MULTILINE)
    assert [file.name for file in folder.rglob("*.py") if wanted.search(file.read_text("utf-8"))] == ["records.py"]
