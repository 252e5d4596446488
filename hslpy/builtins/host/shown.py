"""The envelope's variables, changed by a setter. In: an address. Out: nothing."""

from __future__ import annotations

from hslpy.builtins.host.contract import HookHost
from hslpy.mail.address import Address, ascii_lower


def show_address(host: HookHost, field: str, address: Address) -> None:
    """Change `$sender` or `$recipient` and what is derived from them."""
    host.facts[field] = ascii_lower(str(address))
    host.facts[f"{field}domain"] = ascii_lower(address.domain)
    host.facts[f"{field}localpart"] = address.local_part
