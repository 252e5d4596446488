"""Libraries that a server's first 220 need not wait for. Out: what stands for each until it is used.

Names of theirs are looked up where they are used, never at the import of one of our modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class Late:
    """Stands for a module, and imports it when an attribute is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(import_module(self._name), attribute)
        setattr(self, attribute, found)  # it is here from now on, and this is not asked again
        return found


if TYPE_CHECKING:
    import ctypes as ctypes
    import decimal as decimal
    import difflib as difflib
    import uuid as uuid

    import yaml as yaml
    from cryptography import x509 as x509
    from cryptography.hazmat.primitives import hashes as hashes

    from hslpy import crypto as crypto
else:
    crypto = Late("hslpy.crypto")
    ctypes = Late("ctypes")
    decimal = Late("decimal")
    difflib = Late("difflib")
    hashes = Late("cryptography.hazmat.primitives.hashes")
    uuid = Late("uuid")
    x509 = Late("cryptography.x509")
    yaml = Late("yaml")
