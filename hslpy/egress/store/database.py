"""The database of delivery-IP settings: SQLite on one node, PostgreSQL for several. In: a URL. Out: sessions.

One change at a time, whoever makes it: each has the one row of `revision` to itself, raises its number, and leaves a row in
`audit`. By the number every process sees within a second that there was a change. Must not know what is changed.

A file that is removed while it is used is still read, and changed no more; one put in its place is used from then on.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, Pool, create_engine, event, inspect, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from hslpy.clock import Clock
from hslpy.egress.store.faults import REMOVED, Trouble, is_busy, reason_of, trouble_of
from hslpy.egress.store.file import DatabaseFile, Key
from hslpy.egress.store.tables import Audit, Revision
from hslpy.errors import OperatorError
from hslpy.records import record

MIGRATIONS = Path(__file__).with_name("migrations")
_BUSY_S = 10.0
"""How long a change waits for the one before it."""
_WAITS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 15_000,  # ms for what was sent to be taken: a server that vanished holds up no thread for long
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": f"-c lock_timeout={_BUSY_S:g}s -c statement_timeout=60s",
}
"""Of PostgreSQL. Source: its manual, sections 34.1.2 and 20.11."""
_LOCK = 0x48534C70  # PostgreSQL's advisory lock of who migrates: "HSLp"


@record
class Actor:
    """Who makes a change: a name, what it came through (`page`, `api`, `cli`), and from where."""

    name: str
    client: str = ""
    source_address: str = ""


class Change(Session):
    """A session that changes something, begun at `now`. `note` adds to what its row in `audit` will say."""

    actor: Actor
    action: str
    arguments: dict[str, Any]
    result: str
    now: float  # Unix seconds
    moved: bool = False  # choices depend on what was seen

    def note(self, **arguments: Any) -> None:
        self.arguments.update(arguments)


class Database:
    """The database at `url`, made or migrated by `open`. `close` gives its connections back."""

    def __init__(self, url: str, clock: Clock) -> None:
        """Raises OperatorError where the URL cannot be read."""
        self._clock = clock
        self.url = _checked(url)
        self.changes = 0
        """How many changes this process has made."""
        self.opened = 0
        """How often it was opened: once, and again for each file that was put in the place of the one in use."""
        self._file = DatabaseFile(Path(self.url.database or "")) if self.url.get_backend_name() == "sqlite" else None
        self._engine = _engine(self.url, self._file)
        self._looking = threading.Lock()

    @property
    def place(self) -> str:
        """Where the database is, for people: without the password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def key(self) -> Key | None:
        """What tells the file of SQLite from another in its place."""
        return self._file.key if self._file is not None else None

    def open(self, *, former: Key | None = None) -> None:
        """Make it where there was none. `former`: the key of the file that was in use before.

        Raises OperatorError where it cannot be reached, is of a later version, is gone, or is just being replaced.
        """
        if former and self._file is not None and self._file.is_other_than(former) and self._file.is_used_elsewhere():
            text = f"the database of delivery IPs, {self.place}, is just being replaced"
            raise OperatorError(text, hint="it is opened once nobody uses the former one")
        self._open(makes=former is None)

    def _open(self, *, makes: bool) -> None:
        if self._file is not None and not makes and not self._file.exists():
            raise OperatorError(
                f"the database of delivery IPs, {self.place}, is gone",
                hint="put it back, or its latest backup; to begin with an empty one, remove `delivery-ips.copy`"
                " in `server.data_dir` too",
            )
        try:
            with self._engine.connect() as connection, self._alone(connection):
                self._migrate(connection)
        except SQLAlchemyError as error:
            raise OperatorError(
                f"the database of delivery IPs, {self.place}, cannot be opened: {reason_of(error)}",
                hint="is `egress.database` right, and does the database server run?"
                if self._file is None
                else "its folder and the file must be the server's user's; commands run as that user",
            ) from error
        if self._file is not None:
            self._file.note()
        self.opened += 1

    def look(self) -> Trouble | None:
        """Say whether the file in use was removed. One that has been put in its place is opened.

        Raises OperatorError where that cannot be done; it is tried again.
        """
        with self._looking:
            if self._file is None or self._file.is_there():
                return None
            if self._file.is_noted:
                if not self._file.has_successor():
                    hint = "put it back, or its latest backup: it is in use within seconds"
                    return Trouble(f"{self.place} {REMOVED}", hint)
                self._file.give_way()  # first: as long as they are open no other file has their key
                self._engine.dispose()
                self._file = DatabaseFile(self._file.path)
                self._engine = _engine(self.url, self._file)
            self._open(makes=False)
            return None

    def trouble(self) -> Trouble | None:
        """Say why changes cannot be kept, where that is so, by making one that means nothing."""
        try:
            found = self.look()
            if found is None:
                self._try()
        except (OperatorError, SQLAlchemyError) as error:
            return None if is_busy(error) else trouble_of(error)
        return found

    def _try(self) -> None:
        if self._file is None:
            with self._engine.connect() as connection:
                if connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
                    hint = "is it a standby? `egress.database` wants the primary"
                    raise OperatorError(f"{self.place} is read-only", hint=hint)
            return
        # A connection of its own: those that are there have a file open that may have become another user's.
        engine = _engine(self.url, self._file, poolclass=NullPool)
        with engine.begin() as connection:  # a row set to what it is would be written nowhere
            other = 1 - int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            connection.exec_driver_sql(f"PRAGMA user_version = {other}")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that changes nothing."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session
            session.rollback()

    @contextmanager
    def change(self, actor: Actor, action: str, arguments: Mapping[str, Any] | None = None) -> Iterator[Change]:
        """Give a session whose work is committed at the end, with a row in `audit`; nothing of it where it raises."""
        self._refuse_removed()
        with Change(self._engine, expire_on_commit=False) as session:
            session.actor, session.action, session.result, session.now = actor, action, "", self._clock.time()
            session.arguments = dict(arguments or {})
            session.execute(update(Revision).values(number=Revision.number + 1))  # first: others wait for this row
            yield session
            session.add(self._audit(session))
            session.commit()
            self.changes += 1

    def change_or_look(
        self, actor: Actor, action: str, arguments: Mapping[str, Any], only_look: bool
    ) -> AbstractContextManager[Session]:
        """Give a session to change with, or one to look only: for what can be asked what it would do."""
        return self.read() if only_look else self.change(actor, action, arguments)

    @contextmanager
    def keep(self) -> Iterator[Change]:
        """Give a session for what is no change of a setting: what was seen, when something was last used.

        Its work is committed at the end, without a row in `audit`, and the revision stays unless `moved` was set.
        """
        self._refuse_removed()
        with Change(self._engine, expire_on_commit=False) as session:
            session.now = self._clock.time()
            session.execute(update(Revision).values(number=Revision.number))  # first: others wait for this row
            yield session
            if session.moved:
                session.execute(update(Revision).values(number=Revision.number + 1))
            session.commit()

    def record(self, actor: Actor, action: str, arguments: Mapping[str, Any], result: str) -> None:
        """Leave a row in `audit` of what changed nothing: a call that was refused."""
        self._refuse_removed()
        with Change(self._engine) as session:
            session.actor, session.action, session.arguments, session.result = actor, action, dict(arguments), result
            session.now = self._clock.time()
            session.add(self._audit(session))
            session.commit()

    def revision(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(select(Revision.number)).scalar_one())

    def _refuse_removed(self) -> None:
        """Raise OperationalError where a change would be made to a file that nobody finds any more."""
        if self._file is not None and self._file.is_noted and not self._file.is_there():
            raise OperationalError("", {}, sqlite3.OperationalError(f"the database's file {REMOVED}"))

    def _audit(self, session: Change) -> Audit:
        actor = session.actor
        return Audit(
            at=session.now,
            actor=actor.name,
            client=actor.client,
            source_address=actor.source_address,
            action=session.action,
            arguments=session.arguments,
            result=session.result[:1000],
        )

    @contextmanager
    def _alone(self, connection: Connection) -> Iterator[None]:
        """Keep other processes from migrating meanwhile."""
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
            try:
                yield
            finally:
                connection.rollback()
                connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))
                connection.commit()
            return
        # The folder: whoever closes the database's own file loses all locks on it that its process has.
        folder = os.open(Path(self.url.database or "").absolute().parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _migrate(self, connection: Any) -> None:
        # Alembic takes a third of a second to import: only where there is something to do.
        found = None
        if inspect(connection).has_table("alembic_version"):
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        connection.rollback()
        known = sorted(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
        if found == known[-1]:
            return
        if found is not None and found not in known:
            raise OperatorError(
                f"the database of delivery IPs was written by a later version of hslpy (its tables are of {found})",
                hint="start the version that wrote it",
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _checked(url: str) -> URL:
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is the latter
        found = None
    if found is None or found.get_backend_name() not in ("sqlite", "postgresql"):
        raise OperatorError(
            f"`egress.database` is no URL of a database that is known here: {url.partition('://')[0] or url!r}",
            hint="write `sqlite:///path` or `postgresql://user:password@host/name`",
        )
    return found.set(drivername="postgresql+psycopg") if found.get_backend_name() == "postgresql" else found


def _engine(url: URL, file: DatabaseFile | None, poolclass: type[Pool] | None = None) -> Engine:
    if file is None:
        return create_engine(url, hide_parameters=True, pool_pre_ping=True, pool_size=5, connect_args=_WAITS)
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY_S}, poolclass=poolclass)

    @event.listens_for(engine, "do_connect")
    def look(*_: object) -> None:
        if file.is_noted and not file.is_there():  # SQLite would make an empty one
            raise sqlite3.OperationalError(f"the database's file {REMOVED}")

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # BEGIN is ours
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
