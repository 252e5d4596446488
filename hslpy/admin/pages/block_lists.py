"""The tab "Configure reputation check": block lists, added, changed, tested, imported. In: visits. Out: pages.

Source: sections B6, B7 and B9 of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin.pages.delivery_ips import PATH, TITLE, tab, tabs
from hslpy.admin.pages.listing import Listing, query_from
from hslpy.admin.pages.reputation import VIEWERS
from hslpy.admin.pages.table import page
from hslpy.admin.pages.visit import Visit, numbers
from hslpy.egress.accounts.admins import count
from hslpy.egress.delivery_ips.queries import pages_of
from hslpy.egress.reputation import block_lists
from hslpy.egress.reputation.block_lists import BlockList, Import, Outcome
from hslpy.egress.reputation.checker import Untested
from hslpy.egress.reputation.page_tables import LIST_COLUMNS, LIST_FIELDS, lists
from hslpy.egress.rules.dnsbl import KINDS, MASK, Code
from hslpy.egress.rules.names import NotFound, Refused

HERE = f"{PATH}/lists"
TAB = f"{PATH}?tab=lists&show=1"
TEST_S = 60.0  # how long tests of several lists may take together
TONES: Mapping[str, str] = {
    "working": "ok", "no test entry": "unknown", "refusing": "warning", "not answering": "unknown",
    "lists everything": "critical", "retired": "plain", "not tested": "plain",
}  # fmt: skip
ACTIONS = (
    ("remove", "Remove"),
    ("export", "Export to CSV"),
    ("enable", "Enable"),
    ("disable", "Disable"),
    ("test", "Test"),
)
SHOWN = tuple(LIST_COLUMNS)
KIND_WORDS: Mapping[str, str] = {
    "address": "Address: a listing counts",
    "neighbourhood": "Neighbourhood: never alerts alone",
    "informational": "Informational: never alerts alone",
}


@tab("lists", "Configure reputation check", VIEWERS)
def lists_tab(visit: Visit) -> Response:
    listing = Listing(
        visit,
        "lists",
        PATH,
        LIST_FIELDS,
        LIST_COLUMNS,
        SHOWN,
        sortable=tuple(LIST_COLUMNS),
        fixed={"tab": "lists"},
        add_label="Add new rule",
    )
    if listing.redirect:
        return visit.redirect(listing.redirect)
    rows: Sequence[BlockList] = ()
    there = True
    if listing.is_shown:
        try:
            found = lists(visit.database, listing.query)
            rows, there = found.rows, found.total > 0
            listing.found(len(found.ids), found.query.page, pages_of(len(found.ids), found.query.per_page))
        except Refused as error:
            listing.refused(error)
    may_change = visit.principal.role == "super-admin"
    return visit.render(
        "block_lists.html",
        title=TITLE,
        tabs=tabs(visit, "lists"),
        listing=listing,
        rows=rows,
        there=there,
        may_change=may_change,
        actions=ACTIONS if may_change else (ACTIONS[1],),
        menu=lambda one: _menu(one, listing.url(), may_change),
        tones=TONES,
    )


def _menu(one: BlockList, to: str, may_change: bool) -> Sequence[Mapping[str, str]]:
    back = urlencode({"to": to})
    items: list[Mapping[str, str]] = []
    if may_change:
        items = [
            {"text": "Edit", "href": f"{HERE}/{one.id}?{back}", "dialog": "1"},
            {"text": "Remove", "href": f"{HERE}/remove?{urlencode({'id': one.id, 'to': to})}", "dialog": "1", "danger": "1"},
        ]
    items.append({"text": "Export as CSV", "href": f"{HERE}/export.csv?id={one.id}"})
    if may_change:
        items.append({"text": "Test now", "post": f"{HERE}/{one.id}/test"})
        word = "disable" if one.enabled else "enable"
        items.append({"text": word.capitalize(), "post": f"{HERE}/{one.id}/{word}"})
    if one.removal_url:
        items.append({"text": "Policy and removal page", "href": one.removal_url})
    return items


def _back(visit: Visit) -> str:
    return visit.field("to") or visit.asked("to") or TAB


def _list(visit: Visit, list_id: int) -> BlockList:
    with visit.database.read() as session:
        one = next((row for row in block_lists.lists(session) if row.id == list_id), None)
    if one is None:
        raise NotFound(f"there is no list {list_id}")
    return one


# One or several of them


@page(f"{HERE}/bulk", methods=("POST",), roles=VIEWERS)
async def bulk(visit: Visit) -> Response:
    ids = await asyncio.to_thread(_ids, visit)
    do = visit.field("do")
    if do == "export":
        return await asyncio.to_thread(_csv, visit, ids)
    visit.principal.require("super-admin")
    if do == "remove":
        return await asyncio.to_thread(_ask_to_remove, visit, ids)
    if do == "test":
        return await _tested(visit, ids)
    if do not in ("enable", "disable"):
        raise Refused("choose an action")
    return await asyncio.to_thread(_switch, visit, ids, do == "enable")


def _ids(visit: Visit) -> list[int]:
    """Give the lists that were selected, or all that the query has. Raises Refused."""
    if visit.field("all") == "1":
        ids = list(lists(visit.database, query_from(visit.field("query"))).ids)
    else:
        ids = numbers(visit.fields("id"))
    if not ids:
        raise Refused("select at least one list")
    return ids


@page(HERE + "/{id:int}/enable", methods=("POST",))
def enable(visit: Visit) -> Response:
    return _switch(visit, [visit.id()], True)


@page(HERE + "/{id:int}/disable", methods=("POST",))
def disable(visit: Visit) -> Response:
    return _switch(visit, [visit.id()], False)


def _switch(visit: Visit, ids: list[int], enabled: bool) -> Response:
    outcomes, undo = block_lists.set_enabled(visit.database, visit.actor, ids, enabled)
    return _told(visit, outcomes, "enabled" if enabled else "disabled", undo)


def _told(visit: Visit, outcomes: Sequence[Outcome], what: str, undo: str = "") -> Response:
    """Say what became of each of several lists, and go back."""
    done = [one for one in outcomes if one.done]
    failed = [f"{one.name or one.id}: {one.message}" for one in outcomes if not one.done]
    text = f"{done[0].name} was {what}." if len(done) == 1 else f"{count(len(done), 'list')} {what}."
    if failed:
        text += f" {len(failed)} could not be."
    visit.banner(text if done or not failed else f"Nothing was {what}.", "warning" if failed else "ok", failed, undo)
    return visit.redirect(_back(visit))


@page(HERE + "/remove")
def ask_to_remove(visit: Visit) -> Response:
    return _ask_to_remove(visit, [_list(visit, one).id for one in numbers(visit.asked_all("id"))])


def _ask_to_remove(visit: Visit, ids: Sequence[int]) -> Response:
    with visit.database.read() as session:
        chosen = [one for one in block_lists.lists(session) if one.id in set(ids)]
    if not chosen:
        raise NotFound("there is no such list")
    return visit.render(
        "block_lists_remove.html", title=f"Remove {count(len(chosen), 'list')}", lists=chosen, back=_back(visit)
    )


@page(HERE + "/remove", methods=("POST",))
def remove(visit: Visit) -> Response:
    return _told(visit, block_lists.remove(visit.database, visit.actor, _ids(visit)), "removed")


@page(f"{HERE}/restore", methods=("POST",))
def restore(visit: Visit) -> Response:
    number = block_lists.restore_defaults(visit.database, visit.actor)
    visit.banner(
        f"{count(number, 'list')} restored." if number else "All default lists are there.", "ok" if number else "info"
    )
    return visit.redirect(_back(visit))


@page(HERE + "/{id:int}/test", methods=("POST",))
async def test(visit: Visit) -> Response:
    return await _tested(visit, [visit.id()])


async def _tested(visit: Visit, ids: Sequence[int]) -> Response:
    """Test lists now, side by side, and say what each is."""
    checker = visit.site.reputation
    if checker is None:
        raise Refused("lists cannot be tested by this process", 503)
    outcomes = []

    async def one(list_id: int) -> None:
        try:
            found = await checker.test(list_id)
            outcomes.append((found.name, found.status, f"{found.name}: {_result(found)}"))
        except NotFound as missing:
            outcomes.append((str(list_id), "not tested", missing.message))

    try:
        async with asyncio.timeout(TEST_S):
            await asyncio.gather(*map(one, ids))
    except TimeoutError:
        outcomes.append(("~", "not tested", "the others take longer"))
    outcomes.sort(key=lambda found: found[0].casefold())
    bad = [text for _, status, text in outcomes if status != "working"]
    if len(outcomes) == 1:
        visit.banner(outcomes[0][2], "warning" if bad else "ok")
    else:
        text = f"{count(len(outcomes), 'list')} tested, {len(outcomes) - len(bad)} working."
        visit.banner(text, "warning" if bad else "ok", bad)
    return visit.redirect(_back(visit))


def _result(one: BlockList) -> str:
    return f"{one.word}{f' ({one.status_detail})' if one.status_detail else ''}"


@page(f"{HERE}/export.csv", roles=VIEWERS)
def export(visit: Visit) -> Response:
    return _csv(visit, numbers(visit.asked_all("id")) or None)


def _csv(visit: Visit, ids: Sequence[int] | None) -> Response:
    with visit.database.read() as session:
        return visit.csv(block_lists.export_csv(session, ids), "block-lists.csv")


# One list


@page(f"{HERE}/new")
def new(visit: Visit) -> Response:
    return _form(visit, "Add New DNSBL", f"{HERE}/new", {"families": ["4"], "kind": "address"}, {})


@page(f"{HERE}/new", methods=("POST",))
async def add(visit: Visit) -> Response:
    """Add a list after its test; where it does not pass, or is retired, ask what to do."""
    given = _given(visit)
    form = _partial(visit, "Add New DNSBL", f"{HERE}/new", given)
    if visit.is_resumed:
        return await asyncio.to_thread(form, {})
    untested = visit.field("untested")
    try:
        draft = await asyncio.to_thread(_draft, visit, given)
        if draft.retired and not untested:
            return await asyncio.to_thread(form, {}, draft.warning, ("disabled",))
    except Refused as error:
        return await asyncio.to_thread(form, {error.field or "domain": error.message})
    try:
        if visit.site.reputation is None:
            one = await asyncio.to_thread(
                block_lists.add, visit.database, visit.actor, draft, enabled=untested != "disabled"
            )
        else:
            how = untested if untested in ("disabled", "anyway") else "ask"
            one = await visit.site.reputation.add(visit.actor, draft, how)  # type: ignore[arg-type]
    except Untested as error:
        text = f"The list does not answer the standard test entry{f' ({error.detail})' if error.detail else ''}."
        return await asyncio.to_thread(form, {}, text, ("disabled", "anyway"))
    except Refused as error:
        return await asyncio.to_thread(form, {error.field or "domain": error.message})
    state = "" if one.enabled else f" It is disabled{f': {one.note}' if one.note else ''}."
    visit.banner(f"{one.name} was added: {one.word}.{state}", "ok" if one.enabled else "warning")
    return visit.redirect(_back(visit))


def _draft(visit: Visit, given: Mapping[str, Any]) -> block_lists.Draft:
    with visit.database.read() as session:
        return block_lists.draft(
            session,
            given["name"],
            given["domain"],
            families=_families(given) if given["advanced"] else None,
            codes=given["codes"],
            kind=given["kind"] if given["advanced"] else "",
            key=given["key"],
            removal_url=given["removal_url"],
        )


def _families(given: Mapping[str, Any]) -> list[int]:
    return [int(one) for one in given["families"] if one in ("4", "6")]


def _given(visit: Visit) -> dict[str, Any]:
    """Give what stands in the form. What is advanced counts where it is not what the empty form has."""
    given: dict[str, Any] = {
        key: visit.field(key).strip() for key in ("name", "domain", "codes", "kind", "key", "removal_url")
    }
    given["families"] = list(visit.fields("families"))
    changed = given["families"] != ["4"] or given["kind"] not in ("", "address")
    return {**given, "advanced": changed and "families-there" in visit.form}


@page(HERE + "/{id:int}")
def show(visit: Visit) -> Response:
    one = _list(visit, visit.id())
    given = {
        "name": one.name,
        "domain": one.zone,
        "families": [str(family) for family in one.families],
        "codes": codes_text(one.codes),
        "kind": one.kind,
        "key": one.key,
        "removal_url": one.removal_url,
    }
    return _form(visit, f"Edit {one.name}", f"{HERE}/{one.id}", given, {}, one=one)


@page(HERE + "/{id:int}", methods=("POST",))
def edit(visit: Visit) -> Response:
    one = _list(visit, visit.id())
    given = _given(visit)
    form = _partial(visit, f"Edit {one.name}", f"{HERE}/{one.id}", given, one)
    if visit.is_resumed:
        return form({})
    before = {
        "name": one.name, "domain": one.zone, "codes": codes_text(one.codes), "kind": one.kind, "key": one.key,
        "removal_url": one.removal_url, "families": list(one.families),
    }  # fmt: skip
    after = {**{key: given[key] for key in before}, "families": _families(given)}
    changes = {key: value for key, value in after.items() if value != before[key]}
    if not changes:
        visit.banner("Nothing was changed.", "info")
        return visit.redirect(_back(visit))
    try:
        saved = block_lists.edit(visit.database, visit.actor, one.id, changes)
    except Refused as error:
        return form({error.field or "name": error.message})
    visit.banner(f"{saved.name} was saved{'' if saved.status != 'not tested' else '; it is tested at the next check'}.")
    return visit.redirect(_back(visit))


def codes_text(codes: Sequence[Code]) -> str:
    """Give codes as the form has them, and `read_codes` reads them."""
    return "\n".join(f"{one.matches}={_one_item(one.meaning)}" if one.meaning else one.matches for one in codes)


def _one_item(meaning: str) -> str:
    return meaning.replace(",", " -").replace(";", " -")


Form = Callable[..., Response]


def _partial(visit: Visit, title: str, path: str, given: Mapping[str, Any], one: BlockList | None = None) -> Form:
    def form(errors: Mapping[str, str], question: str = "", choices: Sequence[str] = ()) -> Response:
        return _form(visit, title, path, given, errors, question=question, choices=choices, one=one)

    return form


def _form(
    visit: Visit,
    title: str,
    path: str,
    given: Mapping[str, Any],
    errors: Mapping[str, str],
    *,
    question: str = "",
    choices: Sequence[str] = (),
    one: BlockList | None = None,
) -> Response:
    empty = {"name": "", "domain": "", "families": [], "codes": "", "kind": "address", "key": "", "removal_url": ""}
    return visit.render(
        "block_list_form.html",
        400 if errors else 200,
        title=title,
        path=path,
        given={**empty, **given},
        errors=errors,
        question=question,
        choices=choices,
        one=one,
        kinds=[(kind, KIND_WORDS[kind]) for kind in KINDS],
        mask=MASK,
        back=_back(visit),
    )


# A file of lists


@page(f"{HERE}/import")
def select_file(visit: Visit) -> Response:
    return _import_page(visit, None, "", "")


@page(f"{HERE}/import", methods=("POST",))
def import_file(visit: Visit) -> Response:
    """Show what a file comes to, or take it: `do=import`."""
    try:
        data = visit.field("content").encode() if visit.field("content") else visit.file("file")
        preview = visit.field("do") != "import"
        found = block_lists.import_csv(visit.database, visit.actor, data, preview=preview)
    except Refused as error:
        return _import_page(visit, None, "", error.message)
    if preview:
        return _import_page(visit, found, data.decode("utf-8-sig"), "")
    faults = [f"Line {row.line}: {row.reason}" for row in found.rows if row.outcome == "invalid"]
    notes = [f"{row.name}: {row.reason}" for row in found.rows if row.outcome == "new" and row.reason]
    visit.banner(f"{found.text}.", "warning" if faults else "ok", [*faults, *notes])
    return visit.redirect(_back(visit))


def _import_page(visit: Visit, found: Import | None, content: str, error: str) -> Response:
    return visit.render(
        "block_lists_import.html",
        400 if error else 200,
        title="Import From CSV",
        found=found,
        content=content,
        errors={"file": error} if error else {},
        back=_back(visit),
    )
