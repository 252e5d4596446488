"""The database's file as others treat it while it is in use: removed, replaced, read-only, damaged."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from hslpy.clock import ManualClock
from hslpy.egress.accounts import site
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.traffic.picture import Follower
from hslpy.errors import OperatorError
from tests.scenarios.harness import ROOT as ROOT_FOLDER
from tests.support.databases import new_database
from tests.support.namespaces import own

ROOT = Actor("root", "cli")


STARTS = """
import sys
from hslpy.clock import ManualClock
from hslpy.egress.store.database import Database
from hslpy.errors import OperatorError

try:
    Database(f"sqlite:///{sys.argv[1]}", ManualClock()).open(former=(int(sys.argv[2]), int(sys.argv[3])))
except OperatorError as error:
    print(error.message)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "delivery.db"


@pytest.fixture
def used(file: Path):
    found = Database(f"sqlite:///{file}", ManualClock())
    found.open()
    yield found
    found.close()


def backup(file: Path, to: Path) -> None:
    with sqlite3.connect(file) as source, sqlite3.connect(to) as target:
        source.backup(target)
    target.close()
    source.close()


def test_a_file_that_was_removed_is_told_read_and_not_changed_nor_made_anew(used, file):
    site.change(used, ROOT, {"pool": "sticky"})
    assert used.trouble() is None
    file.unlink()
    trouble = used.trouble()
    assert "delivery.db was removed while it was in use" in trouble.reason and "latest backup" in trouble.hint
    assert used.revision() == 1
    with pytest.raises(OperationalError, match="was removed"):
        site.change(used, ROOT, {"pool": "random"})
    used._engine.dispose()
    with pytest.raises(OperationalError, match="was removed"):
        used.revision()
    assert not file.exists()


def test_a_backup_put_in_its_place_is_gone_by_without_the_log_of_the_former_file(used, file, tmp_path):
    follower = Follower(used)
    site.change(used, ROOT, {"pool": "sticky"})
    backup(file, tmp_path / "backup")
    for pool in ("random", "sticky", "random"):
        site.change(used, ROOT, {"pool": pool})
    assert follower.refresh().site.pool == "random" and file.with_name("delivery.db-wal").stat().st_size
    file.unlink()
    assert follower.refresh().site.pool == "random" and "was removed" in follower.fault.reason
    shutil.copy(tmp_path / "backup", file)
    follower.refresh()  # a copy takes its time
    assert follower.fault is not None
    assert follower.refresh().site.pool == "sticky" and follower.fault is None and used.trouble() is None
    site.change(used, ROOT, {"pool": "random"})
    assert follower.refresh().site.pool == "random"
    check = sqlite3.connect(file)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_a_file_moved_away_and_back_is_the_same(used, file, tmp_path):
    site.change(used, ROOT, {"pool": "sticky"})
    file.rename(tmp_path / "elsewhere")
    assert used.trouble() is not None
    (tmp_path / "elsewhere").rename(file)
    site.change(used, ROOT, {"pool": "random"})
    assert used.trouble() is None and used.revision() == 2 and used.opened == 1


def test_what_is_no_database_is_not_taken_up_and_a_backup_after_it_is(used, file, tmp_path):
    site.change(used, ROOT, {"pool": "sticky"})
    backup(file, tmp_path / "backup")
    follower = Follower(used)
    follower.start()
    follower.stop()
    file.unlink()
    file.write_bytes(b"nonsense" * 1000)
    for _ in range(3):
        trouble = used.trouble()
    assert "not a database" in trouble.reason and follower.picture.site.pool == "sticky"
    (tmp_path / "backup").replace(file)
    assert used.trouble() is None or used.trouble() is None
    assert follower.refresh().site.pool == "sticky"


def test_one_that_was_there_is_missed_and_not_made_anew(file):
    with pytest.raises(OperatorError, match="is gone") as raised:
        Database(f"sqlite:///{file}", ManualClock()).open(former=(1, 2))
    assert "backup" in raised.value.hint and not file.exists()


def test_who_starts_while_a_file_is_replaced_waits_until_the_log_of_the_former_is_gone(used, file, tmp_path):
    site.change(used, ROOT, {"pool": "sticky"})
    former = used.key
    backup(file, tmp_path / "backup")
    site.change(used, ROOT, {"pool": "random"})
    (tmp_path / "backup").replace(file)
    starts = [sys.executable, "-c", STARTS, str(file), *map(str, former)]
    assert "is just being replaced" in subprocess.run(starts, capture_output=True, text=True, timeout=60).stdout
    while used.look() is not None:
        pass
    starts[-2:] = map(str, used.key)
    assert subprocess.run(starts, capture_output=True, text=True, timeout=60).stdout == ""
    assert used.revision() == 1 and used.trouble() is None


ON_A_SMALL_DISK = """
import contextlib, subprocess, sys
from hslpy.clock import ManualClock
from hslpy.egress.store.database import Database

disk = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
database = Database(f"sqlite:///{disk}/delivery.db", ManualClock())
database.open()
with contextlib.suppress(OSError), open(f"{disk}/others", "ab", buffering=0) as others:
    while True:
        others.write(b"x" * 512)
for _ in range(100):  # until what the log has room for is used up
    if (trouble := database.trouble()) is not None:
        break
assert "full" in trouble.reason and "make room" in trouble.hint, trouble
subprocess.run(["rm", f"{disk}/others"], check=True)
assert database.trouble() is None
"""


def test_a_full_disk_is_told_before_somebody_changes_something(tmp_path):
    command = [*own("mount"), sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT_FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_files_that_became_another_users_are_told_though_open_connections_still_write():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    database = Database(f"sqlite:///{folder}/delivery.db", ManualClock())
    database.open()
    for one in folder.iterdir():
        one.chmod(0o444)
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        trouble = database.trouble()
        assert "readonly" in trouble.reason and "must be the server's user's" in trouble.hint
        assert database.revision() == 0
    finally:
        if root:
            os.seteuid(0)
        database.close()
        shutil.rmtree(folder)


def test_a_standby_is_told(postgresql, tmp_path, request):
    url = new_database(request, tmp_path, "postgresql")
    database = Database(url, ManualClock())
    database.open()
    assert database.trouble() is None
    with database._engine.connect() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connection.commit()
    database._engine.dispose()
    assert "read-only" in database.trouble().reason
    database.close()
