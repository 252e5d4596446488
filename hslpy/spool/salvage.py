"""A damaged database set aside, and a new one made of what can still be read. In: the spool's folder. Out: a report.

Nothing is thrown away: the old files go to `damaged/<time>`, with a report and the messages whose recipients could not be
read. A crash at any moment is safe: the old database is in its place until the new one is whole and synced.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.records import dataclass
from hslpy.spool.folder import Folder, sync_folder
from hslpy.spool.pages import Image, Unreadable, Values
from hslpy.spool.rows import CONTENT_COLUMNS, MESSAGE_COLUMNS, PLACE_COLUMNS, RECIPIENT_COLUMNS, VARIANT_COLUMNS, unpack
from hslpy.spool.schema import PAGE_BYTES, VERSION, connect_writer
from hslpy.spool.segments import Segments

_READY = ".salvaged"  # a new database that only has to be put in place
_ROWS = 1000
_IDS_SKIPPED = 100_000  # where nobody can say which ids were given already

# How the values of a row look: k the row's own id, i integer, n number, t text, b bytes; a capital may be missing.
# The second is how few columns a row of an earlier version has.
_LOOKS = {
    "messages": ("ktnttttii", 9),
    "contents": ("kbBI", 3),
    "places": ("kiii", 4),
    "variants": ("iiiiBBI", 6),
    "recipients": ("kittttt" + "nii" + "innti" + "Tti" + "TTT" + "t" + "T", 21),
}
_COLUMNS = {
    "messages": MESSAGE_COLUMNS,
    "contents": CONTENT_COLUMNS,
    "places": PLACE_COLUMNS,
    "variants": VARIANT_COLUMNS,
    "recipients": RECIPIENT_COLUMNS,
}
_PACKED = frozenset({"sender_params", "recipient_params", "metadata", "egress"})
_TYPES: dict[str, tuple[type, ...]] = {"i": (int,), "n": (int, float), "t": (str,), "b": (bytes,)}


@dataclass(frozen=True, slots=True)
class Salvage:
    """What became of a damaged database. `kept` is where it is now; the rest are counts.

    `without_content` are messages with recipients and no content: they will be held. `without_recipients` are those that
    nobody can be found for: files in `kept`. `made_up` had lost their envelope's data.
    """

    kept: Path
    recipients: int
    messages: int
    without_content: int
    without_recipients: int
    made_up: int
    damaged_pages: int


def kept_aside(folder: Folder) -> tuple[str, ...]:
    """Give what was set aside and is still there: folders, the oldest first."""
    return tuple(sorted(str(path) for path in folder.damaged.iterdir())) if folder.damaged.is_dir() else ()


def new_place(folder: Folder, now: float) -> Path:
    """Make a folder for damaged things, named by the time (Unix seconds)."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    for number in range(1000):
        place = folder.damaged / (f"{stamp}-{number}" if number else stamp)
        if not place.exists():
            place.mkdir(mode=0o700, parents=True)
            sync_folder(folder.path)
            sync_folder(folder.damaged)
            return place
    raise OSError(f"{folder.damaged} has too many folders of this second")


def finish(folder: Folder) -> None:
    """Put a new database in its place that a crash left ready, and remove one that it left unready."""
    ready, unready = _beside(folder, _READY), _beside(folder, ".new")
    for path in (unready, _with(unready, "-wal"), _with(unready, "-shm"), _with(unready, "-journal")):
        path.unlink(missing_ok=True)
    if ready.exists():
        for suffix in ("-wal", "-shm"):  # of the old one
            _with(folder.database, suffix).unlink(missing_ok=True)
        sync_folder(folder.path)
        os.rename(ready, folder.database)
        sync_folder(folder.path)


def salvage(folder: Folder, place: Path, why: str) -> Salvage:
    """Make a new database of what the present one still has. Nobody may have it open. The old one goes to `place`, where
    its WAL may be already.

    Raises OperatorError when a later version wrote it; OSError and sqlite3.Error when the disk fails or is full: then
    everything is as it was.
    """
    database = folder.database
    for suffix in ("", "-wal"):
        kept = _with(place / database.name, suffix)
        if _with(database, suffix).exists() and not kept.exists():
            _keep(_with(database, suffix), kept)
    segments = Segments(folder.segments)
    for path, number in segments.files():  # what they have for rows that are lost
        with contextlib.suppress(OSError):  # a copy would be too large
            os.link(path, place / f"segment-{number}")
    sync_folder(place)
    image = Image(place / database.name, _with(place / database.name, "-wal"), PAGE_BYTES)
    with closing(image):
        roots = image.roots()
        meta = _meta(image, roots.get("meta"))
        if meta.get("version", 0) > VERSION:
            raise OperatorError(
                f"the spool {database} was written by a later version of hslpy, and is damaged: {why}",
                hint="start the version that wrote it",
            )
        finish(folder)
        new = _beside(folder, ".new")
        connection = connect_writer(new)
        try:
            connection.execute("BEGIN IMMEDIATE")
            _copy(image, roots, connection)
            _add_places(connection, segments)
            report = _tidied(connection, folder, segments, place, len(image.damaged))
            _set_next_id(connection, folder, meta.get("next_id"))
            connection.execute("COMMIT")
        finally:
            connection.close()
    (place / "report.txt").write_text("\n".join([why, *(f"{name}={value}" for name, value in asdict(report).items()), ""]))
    sync_folder(place)
    os.rename(new, _beside(folder, _READY))
    sync_folder(folder.path)
    finish(folder)
    return report


def _keep(file: Path, kept: Path) -> None:
    try:
        os.link(file, kept)  # the same bytes: nobody writes to them from now on
    except OSError:  # a file system without
        shutil.copyfile(file, kept)


def _meta(image: Image, root: int | None) -> dict[str, int]:
    try:
        pairs = list(image.pairs(root)) if root is not None else []
    except Unreadable:
        return {}
    return {str(values[0]): values[1] for values in pairs if len(values) == 2 and isinstance(values[1], int)}


def _copy(image: Image, roots: Mapping[str, int], connection: sqlite3.Connection) -> None:
    seen: set[int] = {1}
    for table in _LOOKS:
        rows = image.rows(roots.get(table), seen, partial(_looks_like, table))
        _insert(connection, table, (_row(table, rowid, values) for rowid, values in rows))
    if image.damaged or any(table not in roots for table in _LOOKS):
        for rowid, values in image.stray_rows(seen):
            for table in _LOOKS:
                if _looks_like(table, values):
                    _insert(connection, table, [_row(table, rowid, values)])


def _add_places(connection: sqlite3.Connection, segments: Segments) -> None:
    """Find the bodies of messages whose place is lost: a segment says itself what it holds."""
    lost = "SELECT message_id FROM contents WHERE body IS NULL AND message_id NOT IN (SELECT message_id FROM places)"
    wanted = {row[0] for row in connection.execute(lost)}
    if wanted:
        _insert(connection, "places", (place for place in segments.found() if place[0] in wanted))


def _looks_like(table: str, values: Values) -> bool:
    looks, least = _LOOKS[table]
    if not least <= len(values) <= len(looks):
        return False
    for look, value in zip(looks, values, strict=False):
        if look == "k" or (value is None and look.isupper()):
            fits = value is None
        else:
            fits = isinstance(value, _TYPES[look.lower()])
        if not fits:
            return False
    return True


def _row(table: str, rowid: int, values: Values) -> Values:
    own = (rowid, *values[1:]) if _LOOKS[table][0][0] == "k" else values
    if table == "recipients":  # mail without its metadata is better than none
        own = tuple(
            _sound(value) if column in _PACKED else value for column, value in zip(RECIPIENT_COLUMNS, own, strict=False)
        )
    missing = len(_COLUMNS[table]) - len(own)
    if table == "recipients":
        return own + ("", None)[2 - missing :]
    return own + (None,) * missing


def _sound(text: object) -> object:
    """Give a packed mapping, None where it is none any more."""
    try:
        return text if text is None or unpack(str(text)) is not None else None
    except (ValueError, AttributeError):
        return None


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Values]) -> None:
    columns = _COLUMNS[table]
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    for some in _in_parts(iter(rows)):
        connection.executemany(statement, some)


def _in_parts(rows: Iterator[Values]) -> Iterator[list[Values]]:
    while some := list(islice(rows, _ROWS)):
        yield some


def _tidied(connection: sqlite3.Connection, folder: Folder, segments: Segments, place: Path, damaged_pages: int) -> Salvage:
    """Make the tables agree with each other, and give the counts."""
    made_up = connection.execute(
        "INSERT INTO messages SELECT message_id, 'salvaged-' || message_id, min(due_at), '', '', '', '',"
        " max(queue_id) - message_id + 1, 1 FROM recipients WHERE message_id NOT IN (SELECT id FROM messages)"
        " GROUP BY message_id"
    ).rowcount
    lonely = (
        "SELECT message_id FROM contents WHERE message_id NOT IN (SELECT message_id FROM recipients)"
        " UNION SELECT id FROM messages WHERE id NOT IN (SELECT message_id FROM recipients)"
    )
    nobodys = [row[0] for row in connection.execute(lonely).fetchall()]
    for message_id in nobodys:
        _put_out(connection, folder, segments, place, message_id)
    for table in ("messages", "contents", "places", "variants"):
        key = "id" if table == "messages" else "message_id"
        connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", [(message_id,) for message_id in nobodys])
    without_content = "SELECT count(*) FROM messages WHERE id NOT IN (SELECT message_id FROM contents)"
    queries = ("SELECT count(*) FROM recipients", "SELECT count(*) FROM messages", without_content)
    recipients, messages, contentless = (connection.execute(query).fetchone()[0] for query in queries)
    return Salvage(place, recipients, messages, contentless, len(nobodys), max(made_up, 0), damaged_pages)


def _put_out(connection: sqlite3.Connection, folder: Folder, segments: Segments, place: Path, message_id: int) -> None:
    """Write a message without recipients as a file beside the damaged database."""
    row = connection.execute(
        "SELECT header, body, segment, offset, length FROM contents LEFT JOIN places USING (message_id)"
        " WHERE message_id = ?",
        (message_id,),
    ).fetchone()
    if row is None:
        return
    body = row[1]
    if body is None:
        try:
            body = folder.read_body(message_id, -1) if row[2] is None else segments.read(*row[2:])
        except OSError:
            body = b""
    (place / f"{message_id}.eml").write_bytes(row[0] + body)


def _set_next_id(connection: sqlite3.Connection, folder: Folder, known: int | None) -> None:
    highest: int = connection.execute("SELECT coalesce(max(queue_id), 0) FROM recipients").fetchone()[0]
    if known is None:
        highest = max([highest, *(message_id for _, message_id, _ in folder.bodies())])
        known = highest + _IDS_SKIPPED
    connection.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'next_id'", (max(known, highest + 1),))


def _beside(folder: Folder, suffix: str) -> Path:
    return _with(folder.database, suffix)


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
