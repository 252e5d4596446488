"""Forms of a few fields, questions before something is removed, secrets shown once: described here, drawn by one template.

In: rows. Out: pages, which open as dialogs where they are asked for as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field as fresh
from dataclasses import replace
from typing import Literal

from fastapi.responses import Response

from hslpy.admin.pages.table import SUPER, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts.admins import Removed, Role, count
from hslpy.egress.rules.names import Refused
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
    hidden: Mapping[str, str] = fresh(default_factory=dict, hash=False)
    is_danger: bool = False


Act = Callable[[Visit], "Response | str"]


def form_page(
    path: str, ask: Callable[[Visit], Form], *, back: str, field: str = "", roles: Sequence[Role] = SUPER
) -> Callable[[Act], Act]:
    """Make pages of a function that carries out what a form says: the form that `ask` gives, and what came of it.

    The function gives what was done, for a banner, and the browser goes `back`; or a reply of its own. What it refuses is
    shown beside what it is about, else beside `field`; without one, on a page of its own.
    """

    def add(act: Act) -> Act:
        @page(path, roles=roles)
        def show_form(visit: Visit) -> Response:
            return show(visit, ask(visit))

        @page(path, methods=("POST",), roles=roles)
        def carry_out(visit: Visit) -> Response:
            if visit.is_resumed:
                return show(visit, filled(visit, ask(visit)))
            try:
                done = act(visit)
            except Refused as error:
                return again(visit, ask(visit), error, field)
            if not isinstance(done, str):
                return done
            visit.banner(done)
            return visit.redirect(visit.field("to", back))

        return act

    return add


def show(visit: Visit, form: Form, errors: Mapping[str, str] | None = None) -> Response:
    """Give the page of a form; after a fault with what was entered, but for passwords."""
    status = 400 if errors else 200
    return visit.render("simple.html", status, title=form.title, form=form, errors=errors or {})


def secret(visit: Visit, title: str, label: str, text: str, back: str) -> Response:
    """Show a secret, this once."""
    return visit.render("secret.html", title=title, label=label, secret=text, back=back)


def made_known(visit: Visit, text: str, title: str, made: str, back: str) -> Response | str:
    """Say what was done; a password that was `made` is shown first."""
    if not made:
        return text
    visit.banner(text)
    return secret(visit, title, "The password:", made, back)


def removal(title: str, action: str, back: str, found: Removed, **hidden: str) -> Form:
    """Give the question before something is removed, with what goes along."""
    text = "With it goes:" if found.also else "Nothing else goes with it."
    asked = () if found.held == 0 else (_of_held(found.held),)
    return Form(title, action, "Remove", back, asked, text, found.also, hidden, is_danger=True)


def _of_held(held: int | None) -> Input:
    """Ask what becomes of the mail of somebody locked."""
    hint = "It is locked. How much of its mail is held in the queues cannot be found out now."
    if held is not None:
        hint = f"It is locked, and its mail for {count(held, 'recipient')} is held in the queue."
    options = (("", "choose"), ("remove", "Remove it from the queue, without a bounce"), ("release", "Send it"))
    return Input("queued", "Its held mail", "select", "", options, hint, required=True)


def again(visit: Visit, form: Form, error: Refused, field: str = "") -> Response:
    """Give a form again with what was entered, and what is wrong with it. Raises the error where it is about no field."""
    at = error.field if error.field in [one.name for one in form.inputs] else field
    if not at:
        raise error
    text = error.message[:1].upper() + error.message[1:]
    return show(visit, filled(visit, form), {at: text if text.endswith((".", "?")) else text + "."})


def filled(visit: Visit, form: Form) -> Form:
    """Give a form as somebody has filled it in."""
    return replace(form, inputs=[_filled(visit, one) for one in form.inputs])


def _filled(visit: Visit, one: Input) -> Input:
    value = "" if one.kind == "password" else visit.field(one.name)
    return replace(one, value=value, chosen=frozenset(visit.fields(one.name)))
