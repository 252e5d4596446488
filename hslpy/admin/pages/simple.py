"""Forms of a few fields, questions before something is removed, secrets shown once: described here, drawn by one template.

In: rows. Out: pages, which open as dialogs where they are asked for as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal

from fastapi.responses import Response

from hslpy.admin.pages.visit import Visit
from hslpy.records import record


@record
class Input:
    """A field. `options` are pairs of a value and its text, or values that are suggested for a text."""

    name: str
    label: str
    kind: Literal["text", "password", "select", "tick", "ticks", "lines"] = "text"
    value: str = ""
    options: Sequence[tuple[str, str]] = ()
    hint: str = ""
    required: bool = False
    chosen: frozenset[str] = frozenset()


@record
class Form:
    """A form that is sent to `action`; Cancel leads to `back`."""

    title: str
    action: str
    button: str
    back: str
    inputs: Sequence[Input] = ()
    text: str = ""
    items: Sequence[str] = ()
    hidden: Mapping[str, str] = field(default_factory=dict, hash=False)
    is_danger: bool = False


def show(visit: Visit, form: Form, errors: Mapping[str, str] | None = None) -> Response:
    """Give the page of a form; after a fault with what was entered, but for passwords."""
    status = 400 if errors else 200
    return visit.render("simple.html", status, title=form.title, form=form, errors=errors or {})


def secret(visit: Visit, title: str, label: str, text: str, back: str) -> Response:
    """Show a secret, this once."""
    return visit.render("secret.html", title=title, label=label, secret=text, back=back)


def given(visit: Visit, inputs: Sequence[Input]) -> Sequence[Input]:
    """Give the fields as somebody has filled them in."""
    return [_filled(visit, one) for one in inputs]


def _filled(visit: Visit, one: Input) -> Input:
    value = "" if one.kind == "password" else visit.field(one.name)
    chosen = frozenset(visit.fields(one.name))
    return Input(one.name, one.label, one.kind, value, one.options, one.hint, one.required, chosen)
