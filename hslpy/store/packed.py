"""HSL values as bytes and back, for stores outside of the process. In: values as `lang.sharing.storable` lets them through.

Out: JSON, a byte a character, which keeps what JSON alone does not: the order and kinds of keys, NaN, Map and Set. Must not
know where the bytes are kept.
"""

from __future__ import annotations

import json
from typing import Any

from hslpy.lang.values import Array, HslObject, Value


def pack(value: Value) -> bytes:
    """Give the bytes of a value. Raises RecursionError for arrays some hundreds deep, TypeError for what is not plain."""
    return json.dumps(value, default=_parts, ensure_ascii=False, separators=(",", ":")).encode("latin-1")


def unpack(packed: bytes) -> Value:
    """Give the value anew. Raises ValueError, KeyError, TypeError or RecursionError for bytes that `pack` did not make."""
    return json.loads(packed.decode("latin-1"), object_hook=_whole)


def _parts(value: Value) -> dict[str, Any]:
    if value.__class__ is Array:
        values = list(value.items.values())
        if value.next_index == len(values) and list(value.items) == list(range(len(values))):
            return {"v": values}
        return {"n": value.next_index, "k": list(value.items), "v": values}
    if value.__class__ is HslObject and value.class_name in ("Map", "Set"):
        host: Any = value.host
        key_type, value_type, held = host
        if value.class_name == "Set":
            return {"set": key_type, "k": list(held)}
        return {"map": [key_type, value_type], "k": list(held), "v": [pair[1] for pair in held.values()]}
    raise TypeError(f"no plain value: {value.__class__.__name__}")


def _whole(parts: dict[str, Any]) -> Value:
    if "set" in parts:
        return HslObject("Set", None, (parts["set"], "none", {key: key for key in parts["k"]}))
    if "map" in parts:
        pairs = zip(parts["k"], parts["v"], strict=True)
        return HslObject("Map", None, (*parts["map"], {key: (key, value) for key, value in pairs}))
    if "k" in parts:
        return Array(dict(zip(parts["k"], parts["v"], strict=True)), parts["n"])
    return Array.of(parts["v"])
