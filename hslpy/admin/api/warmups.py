"""Warming up addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from hslpy.admin.api.frame import Body, Caller, Done, needs, noun
from hslpy.egress.warm_up import warm_view, warming
from hslpy.egress.warm_up.warm_view import View
from hslpy.records import record

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


@record
class Order:
    """What can be ordered of a warm-up, at `path` of its address: the function, and what a request brings for it."""

    method: str
    path: str
    carry_out: Callable[..., Any]
    summary: str
    body: type[Body] | None = None


ORDERS = (
    Order("POST", "start", warming.start, "Begin to warm up an address", Start),
    Order("POST", "restart", warming.restart, "Begin again with the first day, by the same plan or another", PlanOf),
    Order("PUT", "plan", warming.change_plan, "Go on by another plan; the days done stay done", PlanOf),
    Order("POST", "pause", warming.pause, "Send nothing from an address until it is resumed", Pause),
    Order("POST", "resume", warming.resume, "Go on with the day on which it was paused"),
    Order(
        "POST", "repeat-day", warming.repeat_day, "Repeat today's day of the plan, or step back to an earlier one", Repeat
    ),
    Order("POST", "skip-to-warm", warming.skip_to_warm, "End the warm-up: the address is used as any other"),
    Order("POST", "already-warm", warming.mark_warm, "Say that an address needs no warming up"),
    Order("POST", "hold-back", warming.hold_back, "Send nothing from an address until its warm-up is started"),
)


def _add(order: Order) -> None:
    def plain(caller: Annotated[Caller, WRITE], address: str) -> View:
        order.carry_out(caller.site.database, caller.actor, address)
        return _view(caller, address)

    def with_body(caller: Annotated[Caller, WRITE], address: str, body: Any) -> View:
        order.carry_out(caller.site.database, caller.actor, address, **body.given)
        return _view(caller, address)

    if order.body is not None:
        with_body.__annotations__["body"] = order.body
    router.add_api_route(
        f"/warm-ups/{{address}}/{order.path}",
        with_body if order.body is not None else plain,
        methods=[order.method],
        summary=order.summary,
        name=order.carry_out.__name__,
    )


for _order in ORDERS:
    _add(_order)


@router.delete("/warm-ups/{address}", summary="Forget an address's warm-up: it is used as one that never had any")
def forget(caller: Annotated[Caller, WRITE], address: str) -> Done:
    warming.forget(caller.site.database, caller.actor, address)
    return Done(text=f"the warm-up of {address} is forgotten")
