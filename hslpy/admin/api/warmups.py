"""Warming up addresses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hslpy.admin.api.frame import Body, Caller, Done, needs, noun
from hslpy.egress.warm_up import warm_view, warming
from hslpy.egress.warm_up.warm_view import View

router = noun("warm-up")

READ = needs("ips:read")
WRITE = needs("ips:write")


class PlanOf(Body):
    """A plan; what is left out is as usual. `start` is a date, `window_start` a time of day in the site's zone.

    `hourly`, and each of `hourly_of` by group of receivers, are the most messages an hour by day; `default` are those
    published. Fewer than seven days have to be `confirmed`.
    """

    start: str = ""
    days: int = 7
    window_start: str = "09:00"
    curve: str = "gentle"
    windows: bool = True
    hourly: list[int] | str = Field(default_factory=list)
    hourly_of: dict[str, list[int] | str] = Field(default_factory=dict)
    burst: int = 3
    require_traffic: int | None = None
    confirmed: bool = False


class Start(PlanOf):
    """Not `anyway`: it begins once the checks of the address find nothing critical."""

    anyway: bool = True


class Pause(Body):
    reason: str = ""


class Repeat(Body):
    """`day`: an earlier day of the plan, to step back to; null: today's once more."""

    day: int | None = None


def _view(caller: Caller, address: str) -> View:
    return warm_view.view(caller.site.database, address, caller.site.clock.time())


@router.get("/warm-ups", summary="List the warm-ups that are known, by address")
def list_all(caller: Annotated[Caller, READ]) -> list[View]:
    return list(warm_view.views(caller.site.database, caller.site.clock.time()))


@router.get("/warm-ups/{address}", summary="Show the warm-up of an address, with its days and a forecast")
def show(caller: Annotated[Caller, READ], address: str) -> View:
    return _view(caller, address)


@router.post("/warm-ups/{address}/start", summary="Begin to warm up an address")
def start(caller: Annotated[Caller, WRITE], address: str, body: Start) -> View:
    warming.start(caller.site.database, caller.actor, address, **body.given)
    return _view(caller, address)


@router.post("/warm-ups/{address}/restart", summary="Begin again with the first day, by the same plan or another")
def restart(caller: Annotated[Caller, WRITE], address: str, body: PlanOf) -> View:
    warming.restart(caller.site.database, caller.actor, address, **body.given)
    return _view(caller, address)


@router.put("/warm-ups/{address}/plan", summary="Go on by another plan; the days done stay done")
def change_plan(caller: Annotated[Caller, WRITE], address: str, body: PlanOf) -> View:
    warming.change_plan(caller.site.database, caller.actor, address, **body.given)
    return _view(caller, address)


@router.post("/warm-ups/{address}/pause", summary="Send nothing from an address until it is resumed")
def pause(caller: Annotated[Caller, WRITE], address: str, body: Pause) -> View:
    warming.pause(caller.site.database, caller.actor, address, reason=body.reason)
    return _view(caller, address)


@router.post("/warm-ups/{address}/resume", summary="Go on with the day on which it was paused")
def resume(caller: Annotated[Caller, WRITE], address: str) -> View:
    warming.resume(caller.site.database, caller.actor, address)
    return _view(caller, address)


@router.post("/warm-ups/{address}/repeat-day", summary="Repeat today's day of the plan, or step back to an earlier one")
def repeat_day(caller: Annotated[Caller, WRITE], address: str, body: Repeat) -> View:
    warming.repeat_day(caller.site.database, caller.actor, address, day=body.day)
    return _view(caller, address)


@router.post("/warm-ups/{address}/skip-to-warm", summary="End the warm-up: the address is used as any other")
def skip_to_warm(caller: Annotated[Caller, WRITE], address: str) -> View:
    warming.skip_to_warm(caller.site.database, caller.actor, address)
    return _view(caller, address)


@router.post("/warm-ups/{address}/already-warm", summary="Say that an address needs no warming up")
def mark_warm(caller: Annotated[Caller, WRITE], address: str) -> View:
    warming.mark_warm(caller.site.database, caller.actor, address)
    return _view(caller, address)


@router.post("/warm-ups/{address}/hold-back", summary="Send nothing from an address until its warm-up is started")
def hold_back(caller: Annotated[Caller, WRITE], address: str) -> View:
    warming.hold_back(caller.site.database, caller.actor, address)
    return _view(caller, address)


@router.delete("/warm-ups/{address}", summary="Forget an address's warm-up: it is used as one that never had any")
def forget(caller: Annotated[Caller, WRITE], address: str) -> Done:
    warming.forget(caller.site.database, caller.actor, address)
    return Done(text=f"the warm-up of {address} is forgotten")
