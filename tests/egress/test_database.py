"""The database: made, migrated, changed by one at a time."""

from __future__ import annotations

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from hslpy.clock import ManualClock
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Admin, Audit, Base
from hslpy.errors import OperatorError

ROOT = Actor("root", "cli")


def test_the_migrations_make_the_tables(database):
    with database._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    database.open()  # again: nothing to do


def test_a_later_version_is_refused(database, database_url):
    with database._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(OperatorError, match="later version"):
        Database(database_url, ManualClock()).open()


def test_a_change_is_whole_counted_and_told(database):
    with database.change(ROOT, "admin add", {"name": "ann"}) as change:
        change.add(Admin(name="ann", role="admin", created_at=0.0))
        change.note(role="admin")
    with pytest.raises(ZeroDivisionError), database.change(ROOT, "admin add", {"name": "bob"}) as change:
        change.add(Admin(name="bob", role="admin", created_at=0.0))
        change.flush()
        1 / 0  # noqa: B018
    database.record(ROOT, "admin add", {"name": "bob"}, "refused")
    assert database.revision() == 1
    with database.read() as session:
        assert [admin.name for admin in session.scalars(select(Admin))] == ["ann"]
        told = [
            (one.actor, one.action, one.arguments, one.result) for one in session.scalars(select(Audit).order_by(Audit.id))
        ]
    assert told == [
        ("root", "admin add", {"name": "ann", "role": "admin"}, ""),
        ("root", "admin add", {"name": "bob"}, "refused"),
    ]


def test_changes_at_once_come_one_after_the_other(database_url, database):
    def add(who: int) -> None:
        own = Database(database_url, ManualClock())
        for _ in range(10):
            with own.change(ROOT, "note") as change:
                admin = change.scalars(select(Admin)).one_or_none()
                if admin is None:
                    admin = Admin(name="n", role="admin", created_at=0.0)
                    change.add(admin)
                admin.created_at += 1
        own.close()

    threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.scalars(select(Admin)).one().created_at == 40 and database.revision() == 40


def test_no_statement_waits_for_ever(database):
    with database.read() as session:
        if session.get_bind().dialect.name == "postgresql":
            waits = [session.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "statement_timeout")]
            assert waits == ["10s", "1min"]
        else:
            assert session.scalar(text("PRAGMA busy_timeout")) == 10_000


@pytest.mark.parametrize("url", ["", "mysql://x/y", "nonsense", "postgresql://x:y@z:port/a"])
def test_other_databases_are_refused(url):
    with pytest.raises(OperatorError):
        Database(url, ManualClock())


def test_a_database_that_is_away_is_told_without_its_password():
    with pytest.raises(OperatorError) as raised:
        Database("postgresql://hslpy:secret@127.0.0.1:1/x", ManualClock()).open()
    assert "secret" not in str(raised.value) and "127.0.0.1" in str(raised.value)
