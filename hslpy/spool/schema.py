"""The tables of the SQLite spool and how an older file becomes the present one. In: a connection. Out: a ready one.

A message's id is the queue id of its first recipient, and its recipients' ids follow each other, so that one sequence
serves both and "was that the last recipient" is a range of the primary key, without an index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from hslpy.errors import OperatorError

VERSION = 5

# Measured on 2 cores, ext4, group commits of 50: 16 KiB pages store 50 KiB messages 1.6 to 2 times as fast as
# 4 KiB pages, and 4 KiB messages as fast.
PAGE_BYTES = 16384
BUSY_MS = 10_000
CHECKPOINT_PAGES = 1000  # a checkpoint each 16 MiB of WAL: SQLite's own page count
WAL_KEEP_BYTES = 64 << 20  # a WAL grown past this by a burst is cut back

_PLACES = """CREATE TABLE places (
    message_id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL
)"""

_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    transaction_id TEXT NOT NULL,
    received_at REAL NOT NULL,
    remote_ip TEXT NOT NULL,
    helo TEXT NOT NULL,
    sasl_username TEXT NOT NULL,
    server_id TEXT NOT NULL,
    recipients INTEGER NOT NULL CHECK (recipients > 0),
    has_files INTEGER NOT NULL
);
-- apart from messages, so that recovery reads no content; a body of NULL is in a segment, where
-- places has it, or in a file of its own; what an older version stored has no checksum
CREATE TABLE contents (message_id INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB, checksum INTEGER);
{_PLACES};
-- a part that is `same` is the received message's
CREATE TABLE variants (
    message_id INTEGER NOT NULL,
    variant INTEGER NOT NULL,
    same_header INTEGER NOT NULL,
    same_body INTEGER NOT NULL,
    header BLOB,
    body BLOB,
    checksum INTEGER,
    UNIQUE (message_id, variant)
);
CREATE TABLE recipients (
    queue_id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    sender_local TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipient_local TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    transport_id TEXT NOT NULL,
    due_at REAL NOT NULL,
    variant INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    last_error TEXT NOT NULL,
    hold INTEGER NOT NULL,
    quarantine_id TEXT,
    job_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    sender_params TEXT,
    recipient_params TEXT,
    metadata TEXT,
    tenant_id TEXT NOT NULL DEFAULT '',
    egress TEXT
);
INSERT INTO meta VALUES ('version', 5), ('next_id', 1);
"""

# A step from the version that is its key to the next one, run inside one transaction with the change of the number.
MIGRATIONS: Mapping[int, Sequence[str]] = {
    1: ("ALTER TABLE recipients ADD COLUMN tenant_id TEXT NOT NULL DEFAULT ''",),
    2: ("ALTER TABLE contents ADD COLUMN checksum INTEGER", "ALTER TABLE variants ADD COLUMN checksum INTEGER"),
    3: (_PLACES,),
    4: ("ALTER TABLE recipients ADD COLUMN egress TEXT",),
}


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the database for the one writer, made or migrated to VERSION. The caller closes it; one thread at a time.

    Raises OperatorError when the file is not a spool, or one of a later version.
    """
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=BUSY_MS / 1000, cached_statements=512, check_same_thread=False
    )
    try:
        if not connection.execute("PRAGMA page_count").fetchone()[0]:  # of one with content they write to it
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={WAL_KEEP_BYTES}")
        connection.execute("PRAGMA cell_size_check=ON")
        _bring_to_version(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise OperatorError(
            f"the spool database {path} cannot be opened: {error}",
            hint="is its disk in order and writable?",
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the database for reading only, for use by one thread at a time. The caller closes it."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA query_only=ON")
    return connection


def _bring_to_version(connection: sqlite3.Connection, path: Path) -> None:
    if not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
    version: int = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()[0]
    if version > VERSION:
        raise OperatorError(
            f"the spool {path} was written by a later version of hslpy (schema {version}, this one knows {VERSION})",
            hint="start the version that wrote it, or give another spool folder",
        )
    while version < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
        version += 1
        connection.execute("UPDATE meta SET value = ? WHERE key = 'version'", (version,))
        connection.execute("COMMIT")
