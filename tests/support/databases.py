"""Databases to test against: SQLite in a file, and a PostgreSQL server of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hslpy.clock import ManualClock
from hslpy.egress.store.database import Database

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Give the URL, up to the database's name, of a server of our own."""
    with own_postgresql() as url:
        yield url


@contextmanager
def own_postgresql() -> Iterator[str]:
    """Give the URL, up to the database's name, of a server on a Unix socket; as root it runs as the user `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"

    def run(*command: object) -> None:
        subprocess.run([*as_user, *map(str, command)], check=True, capture_output=True, cwd=folder)

    run(BINARIES / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--no-instructions")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=50"
    run(BINARIES / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql://postgres@/{{name}}?host={folder}"
    finally:
        run(BINARIES / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def new_database(request: pytest.FixtureRequest, folder: Path, kind: str) -> str:
    """Give the URL of a database without tables; one on SQLite is in `folder`."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'egress.db'}"
    url: str = request.getfixturevalue("postgresql")
    name = f"test{abs(hash(str(folder)))}"
    host = url.partition("host=")[2]
    subprocess.run(["psql", "-q", "-h", host, "-U", "postgres", "-c", f"CREATE DATABASE {name}"], check=True)
    return url.format(name=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database without tables."""
    return new_database(request, tmp_path, request.param)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(database_url: str, clock: ManualClock) -> Iterator[Database]:
    """Give an open database, of the one kind and of the other."""
    database = Database(database_url, clock)
    database.open()
    yield database
    database.close()
