"""What the settings say of the database of delivery IPs. In: nothing. Out: a frozen dataclass.

Must not import SQLAlchemy.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.records import dataclass

FILE = "delivery.db"
_FILE = "sqlite:///"
_KINDS = (_FILE, "postgresql://", "postgresql+psycopg://")


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """`database` is a URL, "" for none: no page and no API, and mail leaves by the sources of the settings file.

    None is the file in `server.data_dir`, which `placed` fills in.
    """

    database: str | None = None

    def __post_init__(self) -> None:
        """Raises OperatorError where the URL is of no database that can be used."""
        if self.database and (not self.database.startswith(_KINDS) or self.database in (_FILE, f"{_FILE}:memory:")):
            raise OperatorError(
                f"`egress.database` is no URL of a database that is known here: {self.database.partition('://')[0]!r}",
                hint="write `sqlite:///path` or `postgresql://user:password@host/name`",
            )

    def placed(self, data_dir: Path, folder: Path) -> EgressSettings:
        """Give them with a whole URL: a file's path is taken from `folder`, where the settings file is."""
        if self.database is None:
            return replace(self, database=f"{_FILE}{data_dir / FILE}")
        if not self.database.startswith(_FILE):
            return self
        return replace(self, database=f"{_FILE}{folder / self.database.removeprefix(_FILE)}")
