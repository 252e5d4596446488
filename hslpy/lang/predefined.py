"""What a script finds there without a declaration or an import of its own. In: nothing. Out: `Predefined`, and a table.

Apart from the compiler, which a server whose scripts are in the cache never imports.
"""

from __future__ import annotations

from hslpy.records import dataclass

OF_THE_SERVER = {  # modules of the original whose function is built in here, and needs no import
    "bounce-list": "bounce_list",
    "dlp": "dlp",
    "env": "getenv",
    "ldap": "LDAP",
    "logger": "logger",
    "rate": "rate",
    "redis": "Redis",
    "time-rfc2822": "time_rfc2822",
}


@dataclass(frozen=True, slots=True)
class Predefined:
    """A predefined variable of a hook: its HSL types, and whether a script may assign it.

    `yields`: one of the older generation, whose name a script of the newer one may take for a variable of its own.
    """

    types: tuple[str, ...]
    writable: bool = False
    yields: bool = False
