"""The rows of settings and how values are checked against them. In: parsed TOML. Out: values by name, or every error.

Knows nothing of which settings there are: those are the rows of `settings.py`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hslpy.late import difflib
from hslpy.records import dataclass

Kind = Literal["text", "integer", "number", "boolean", "path", "texts", "numbers", "numbers by text", "texts by text"]

REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `name` is dotted, but for settings above all tables; in a repeated table it begins `table[].`.

    `unit` is for people, as in `bytes` or `s`. A `secret` is not printed. New values are taken up by a restart; a running
    server takes up scripts alone.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    secret: bool = False
    maximum: float | None = None

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class About:
    """What a row says beyond what its dataclass field does: see `rows_of`."""

    help: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    secret: bool = False
    maximum: float | None = None


def rows_of(section: str, room: type, about: Mapping[str, About]) -> list[Setting]:
    """Give the rows of the settings dataclass `room`, under `section`: name, kind and default come from its fields.

    Fields that `about` leaves out are not settings. Raises KeyError when `about` names a field that isn't there.
    """
    known = {f.name: f for f in fields(room)}
    types = get_type_hints(room)
    rows = []
    for name, text in about.items():
        field = known[name]
        default: Any = field.default
        if default is MISSING:
            factory: Any = field.default_factory
            default = REQUIRED if factory is MISSING else factory()
        kind, choices = _kind_of(types[name])
        rows.append(
            Setting(
                f"{section}.{name}",
                kind,
                default,
                text.help,
                text.unit,
                text.choices or choices,
                text.minimum,
                text.secret,
                text.maximum,
            )
        )
    return rows


def _kind_of(annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    """Give the kind of a field's type, and its choices where it is a Literal of texts."""
    options = [a for a in get_args(annotation) if a is not NoneType]
    if get_origin(annotation) in (Union, UnionType):
        annotation = options[0]
        options = list(get_args(annotation))
    if get_origin(annotation) is Literal:
        return ("text", tuple(options)) if isinstance(options[0], str) else ("integer", ())
    simple: dict[Any, Kind] = {int: "integer", float: "number", bool: "boolean", str: "text", Path: "path"}
    if annotation in simple:
        return simple[annotation], ()
    if get_origin(annotation) is tuple:
        return ("numbers" if options[0] is float else "texts"), ()
    return ("texts by text" if options[1] is str else "numbers by text"), ()


def check(rows: Sequence[Setting], given: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Give the values by setting name, defaults filled in, and one text an error.

    A repeated table's value is a list of dicts by key, under its name with `[]`. Relative paths are taken from `folder`.
    """
    errors: list[str] = []
    by_section: dict[str, dict[str, Setting]] = {}
    for row in rows:
        by_section.setdefault(row.section, {})[row.key] = row
    above = by_section.get("", {})
    sections = {name.removesuffix("[]") for name in by_section}
    parents = {part for name in sections for part in _parents(name)}
    values: dict[str, Any] = {}
    found: dict[str, Any] = {}
    _collect(given, "", sections, parents, found, by_section, errors)
    for section, table in by_section.items():
        content = found.get(section.removesuffix("[]"))
        if section.endswith("[]"):
            entries = content if content is not None else []
            if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
                errors.append(f"`{section[:-2]}` is a repeated table: write [[{section[:-2]}]] for each entry")
                entries = []
            values[section] = [
                _table(table, entry, f"{section[:-2]}[{n}]", folder, errors) for n, entry in enumerate(entries, 1)
            ]
        else:
            filled = _table(table, content if isinstance(content, dict) else {}, section, folder, errors, above)
            values.update({f"{section}.{key}".lstrip("."): value for key, value in filled.items()})
    return values, errors


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _collect(
    given: Mapping[str, Any],
    prefix: str,
    sections: set[str],
    parents: set[str],
    found: dict[str, Any],
    by_section: Mapping[str, Mapping[str, Setting]],
    errors: list[str],
) -> None:
    for key, value in given.items():
        name = f"{prefix}{key}"
        known_here = by_section.get(prefix[:-1], {})
        if name in sections and isinstance(value, dict):
            inner = {k: v for k, v in value.items() if _is_table(f"{name}.{k}", k, v, sections, by_section.get(name, {}))}
            found[name] = {k: v for k, v in value.items() if k not in inner}
            _collect(inner, f"{name}.", sections, parents, found, by_section, errors)
        elif name in sections and isinstance(value, list):
            found[name] = value
        elif not prefix and key in known_here:
            found.setdefault("", {})[key] = value
        elif name in sections:
            errors.append(f"`{name}` is a table: write [{name}] and its settings below")
        elif name in parents and isinstance(value, dict):
            inner = {k: v for k, v in value.items() if f"{name}.{k}" in sections}
            _collect(inner, f"{name}.", sections, parents, found, by_section, errors)
        elif name in parents and isinstance(value, dict):
            _collect(value, f"{name}.", sections, parents, found, by_section, errors)
        elif key not in known_here:
            errors.append(f"unknown table `{name}`" + _near(name, sorted({*sections, *known_here} - {""})))


def _is_table(name: str, key: str, value: Any, sections: set[str], known: Mapping[str, Setting]) -> bool:
    return name in sections or (isinstance(value, dict) and key not in known)


def _table(
    table: Mapping[str, Setting],
    given: Mapping[str, Any],
    place: str,
    folder: Path,
    errors: list[str],
    above: Collection[str] = (),
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    within = f"{place}." if place else ""
    for key in given:
        if key not in table:
            hint = f"; `{key}` stands above all tables" if key in above else _near(key, list(table))
            errors.append(f"unknown setting `{within}{key}`{hint}")
    for key, row in table.items():
        if key in given:
            value, error = _value(row, given[key], folder)
            if error:
                errors.append(f"`{within}{key}` {error}")
            else:
                out[key] = value
        elif row.default is REQUIRED:
            errors.append(f"`{within}{key}` is missing: {row.help}")
        else:
            out[key] = row.default
    return out


def _value(row: Setting, given: Any, folder: Path) -> tuple[Any, str | None]:
    """Give the checked value, or what is wrong with it."""
    kind, wanted = row.kind, _WANTED[row.kind]
    value: Any = given
    if kind == "integer" and not (isinstance(given, int) and not isinstance(given, bool)):
        return None, f"wants {wanted}, got {given!r}"
    if kind == "number":
        if isinstance(given, bool) or not isinstance(given, int | float):
            return None, f"wants {wanted}, got {given!r}"
        value = float(given)
    if kind == "boolean" and not isinstance(given, bool):
        return None, f"wants true or false, got {given!r}"
    if kind in ("text", "path") and not isinstance(given, str):
        return None, f"wants {wanted}, got {given!r}"
    if kind == "path":
        value = (folder / Path(given).expanduser()).absolute()
    if kind == "texts":
        items = [given] if isinstance(given, str) else given
        if not isinstance(items, list) or not all(isinstance(i, str) for i in items):
            return None, f"wants {wanted}, got {given!r}"
        value = tuple(items)
    if kind == "numbers":
        items = given if isinstance(given, list) else [given]
        if not all(isinstance(i, int | float) and not isinstance(i, bool) for i in items):
            return None, f"wants {wanted}, got {given!r}"
        value = tuple(float(i) for i in items)
    if kind in ("numbers by text", "texts by text"):
        inner = str if kind == "texts by text" else (int, float)
        if not isinstance(given, dict) or not all(isinstance(v, inner) for v in given.values()):
            return None, f"wants {wanted}, got {given!r}"
    if any(isinstance(v, float) and not math.isfinite(v) for v in (value if isinstance(value, tuple) else (value,))):
        return None, f"wants {wanted}, got {given!r}"
    if row.choices and any(v not in row.choices for v in (value if isinstance(value, tuple) else (value,))):
        return None, f"wants one of {', '.join(row.choices)}, got {given!r}{_near(str(given), row.choices)}"
    if row.minimum is not None and any(v < row.minimum for v in (value if isinstance(value, tuple) else (value,))):
        unit = f" {row.unit}" if row.unit else ""
        return None, f"wants at least {row.minimum:g}{unit}, got {given!r}"
    if row.maximum is not None and value > row.maximum:
        return None, f"wants at most {row.maximum:g}, got {given!r}"
    return value, None


_WANTED: dict[Kind, str] = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "path": "a path",
    "texts": "a text or a list of texts",
    "numbers": "a number or a list of numbers",
    "numbers by text": "a table of numbers",
    "texts by text": "a table of texts",
}


def from_environment(rows: Sequence[Setting], environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Give a TOML-like tree of the settings that HSLPY_<SECTION>_<NAME> variables set, and the errors in them.

    Only single settings can be set so, not repeated tables; lists are separated by commas.
    """
    names = {"HSLPY_" + row.name.replace(".", "_").upper(): row for row in rows if "[]" not in row.name}
    tree: dict[str, Any] = {}
    errors: list[str] = []
    for variable, text in environment.items():
        if not variable.startswith("HSLPY_") or variable in ("HSLPY_CONFIG", "HSLPY_TEST_VENV"):
            continue
        row = names.get(variable)
        if row is None:
            errors.append(f"the environment has {variable}, which is no setting" + _near(variable, list(names)))
            continue
        value: Any = text
        try:
            if row.kind == "integer":
                value = int(text)
            elif row.kind == "number":
                value = float(text)
            elif row.kind == "boolean":
                value = {"true": True, "false": False}[text.lower()]
            elif row.kind == "numbers":
                value = [float(part) for part in text.split(",") if part.strip()]
            elif row.kind == "texts":
                value = [part.strip() for part in text.split(",") if part.strip()]
        except (ValueError, KeyError):
            errors.append(f"{variable} wants {_WANTED[row.kind]}, got {text!r}")
            continue
        node = tree
        for part in row.section.split(".") if row.section else ():
            node = node.setdefault(part, {})
        node[row.key] = value
    return tree, errors


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Give `base` with the values of `over` on top, table by table."""
    out = dict(base)
    for key, value in over.items():
        out[key] = merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.6)
    return f"; did you mean `{near[0]}`?" if near else ""
