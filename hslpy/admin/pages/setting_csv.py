"""Delivery settings as CSV: out, and in by way of a preview. In: visits. Out: pages, files.

Source: B2.1 and B2.7 of the specification of delivery IPs.
"""

from __future__ import annotations

from fastapi.responses import Response

from hslpy.admin.pages.delivery_ips import PATH
from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts.admins import count
from hslpy.egress.delivery_ips import setting_list, setting_sheet
from hslpy.egress.delivery_ips.queries import Query
from hslpy.egress.rules.names import Refused

_MOST_LINES = 500
"""So many lines of a preview are shown; the others are counted."""


@page(f"{PATH}/csv", roles=EVERYBODY)
def show(visit: Visit) -> Response:
    return _page(visit)


@page(f"{PATH}/csv/export", roles=EVERYBODY)
def export(visit: Visit) -> Response:
    """Give all settings that somebody may see; those of servers on which nothing was chosen are left out."""
    within = visit.principal.admins
    ids = setting_list.matching_ids(visit.database, Query(), visit.now, admins=within)
    rows = [one for one in setting_list.rows_by_id(visit.database, ids) if not one.is_unset]
    return visit.csv(setting_sheet.export(rows), "delivery-ips.csv")


@page(f"{PATH}/csv", methods=("POST",))
def load(visit: Visit) -> Response:
    """Show what would come of a file, or do it."""
    if visit.is_resumed:
        return _page(visit)
    is_final = bool(visit.field("data"))
    try:
        data = visit.field("data").encode() if is_final else visit.file("file")
        lines = setting_sheet.load(
            visit.database,
            visit.actor,
            data,
            only_look=not is_final,
            allow_loopback=visit.site.allow_loopback,
        )
    except Refused as error:
        return _page(visit, error=f"{error.message[:1].upper()}{error.message[1:]}.", status=error.status)
    words = ("added", "changed", "unchanged", "failed")
    counts = {word: sum(one.outcome == word for one in lines) for word in words}
    if not is_final:
        return visit.render(
            "setting_csv.html",
            title="Import / Export CSV",
            columns=setting_sheet.COLUMNS,
            error="",
            lines=lines[:_MOST_LINES],
            total=len(lines),
            counts=counts,
            data=data.decode("utf-8-sig"),
        )
    told = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
    failed = [f"Line {one.line}: {one.text}" for one in lines if one.outcome == "failed"][:_MOST_LINES]
    visit.banner(f"{count(len(lines), 'line')} imported: {told}.", "warning" if failed else "ok", failed)
    return visit.redirect(f"{PATH}?tab=settings&show=1&match=all")


def _page(visit: Visit, error: str = "", status: int = 200) -> Response:
    return visit.render(
        "setting_csv.html", status, title="Import / Export CSV", columns=setting_sheet.COLUMNS, error=error, lines=None
    )
