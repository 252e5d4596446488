"""What all endpoints of the JSON API have in common: who may call them, pages of rows, errors. In: routes. Out: replies.

A route says by `needs(...)` which scope of a token and which roles it wants; nothing is read of a request before its
caller is known. Must not know any rule of delivery IPs.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi import Body as RawBody
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, to_jsonable_python

from hslpy.admin import faults
from hslpy.admin.guard import has_nul
from hslpy.admin.site import Site
from hslpy.admin.who import Caller, TooMany, caller_of
from hslpy.egress.accounts.admins import ROLES, SCOPES, Role
from hslpy.egress.delivery_ips.queries import BadRule, pages_of
from hslpy.egress.delivery_ips.setting_rows import Conflict
from hslpy.egress.rules.names import NotFound, Refused

T = TypeVar("T")

SUPER: Role = "super-admin"
MOST_PER_PAGE = 500
MOST_PAGE = 10**9
MOST_IDS = 10_000  # of a change: nothing else is changed meanwhile, for two seconds
MOST_BODY_BYTES = 3 << 19  # a CSV file has 1 MiB at most, and is refused with a better text


class Unavailable(Refused):
    """What was asked for is not to be had in this process, or now."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 503)


# Who may call


class Needs:
    """What a route wants of its caller: a scope, None for none, and one of some roles."""

    def __init__(self, scope: str | None, roles: Sequence[Role]) -> None:
        assert scope is None or scope in SCOPES
        self.scope, self.roles = scope, tuple(roles)

    def __call__(self, request: Request) -> Caller:
        caller: Caller = request.state.caller
        return caller

    def check(self, caller: Caller) -> None:
        """Raises Refused."""
        principal = caller.principal
        principal.require_all_calls()
        if self.scope is not None:
            principal.require_scope(self.scope)
        principal.require(*self.roles)


def needs(scope: str | None, *roles: Role) -> Any:
    """Give the dependency of a route: without roles, those that can read for a scope that reads, else super-admins."""
    if not roles:
        roles = ROLES if scope is None else (SUPER, "read-only") if scope.endswith(":read") else (SUPER,)  # type: ignore[assignment]
    return Depends(Needs(scope, roles))


def needs_of(route: APIRoute) -> Needs | None:
    found = [one.call for one in route.dependant.dependencies if isinstance(one.call, Needs)]
    return found[0] if found else None


class Route(APIRoute):
    """A route whose caller is known before anything is read, and whose errors are ours."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        needed = needs_of(self)
        known = _query_names(self.dependant)

        async def handler(request: Request) -> Response:
            site: Site = request.app.state.site
            try:
                if needed is not None:
                    caller = await caller_of(site, request)
                    needed.check(caller)
                    request.state.caller = caller
                _refuse_unknown(request, known)
                response = await handle(_Bounded(request.scope, _bounded(request)))
            except (Refused, RequestValidationError) as error:
                return error_reply(error)
            except Exception as error:
                if isinstance(error.__cause__, Refused):  # while the body was read
                    return error_reply(error.__cause__)
                if hasattr(error, "status_code"):
                    raise
                return error_reply(faults.told(site.log, self.path, error))
            return response

        return handler


def noun(name: str) -> APIRouter:
    """Give the router of a noun; its name heads its endpoints in the description."""
    return APIRouter(tags=[name], route_class=Route)


_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class _Bounded(Request):
    """A request whose JSON has no text that cannot be written, or kept: a half of a UTF-16 pair, `"\\ud800"`, or a NUL."""

    async def json(self) -> Any:
        found = await super().json()
        try:
            written = json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Refused("the body has a text that is not Unicode: half a pair of \\u escapes") from None
        if _NUL.search(written):
            raise Refused("the body has a character that no text has: NUL")
        return found


def _bounded(request: Request) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Give what reads the body, up to a limit. It raises Refused."""
    left = MOST_BODY_BYTES

    async def receive() -> Any:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise Refused(f"the body is longer than {MOST_BODY_BYTES} octets", 413)
        return message

    return receive


def _query_names(dependant: Dependant) -> frozenset[str]:
    names = {one.alias for one in dependant.query_params}
    for one in dependant.query_params:
        names |= set(getattr(one.field_info.annotation, "model_fields", ()))
    return frozenset(names).union(*map(_query_names, dependant.dependencies))


def _refuse_unknown(request: Request, known: frozenset[str]) -> None:
    if has_nul(request.scope):
        raise Refused("the address has a character that no text has: NUL")
    for name in request.query_params:
        if name not in known:
            raise Unexpected(name, known)


class Unexpected(Refused):
    """There is no such field."""

    def __init__(self, name: str, known: Sequence[str] | frozenset[str]) -> None:
        super().__init__(f"unexpected field '{name[:64]}'", 400)
        near = difflib.get_close_matches(name, sorted(known), 1)
        self.field, self.hint = name[:64], f"did you mean '{near[0]}'?" if near else ""


# Bodies and pages


class Body(BaseModel):
    """What a request brings: its fields and no others, of exactly their types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_only(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                error = Unexpected(str(name), list(cls.model_fields))
                told = {"message": error.message, "hint": error.hint, "field": error.field}
                raise PydanticCustomError("unexpected", "{message}", told)
        return given

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given, null or not."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Paged(BaseModel, Generic[T]):
    """A page of rows, none beyond the last one; `total` is how many there are on all pages."""

    items: list[T]
    total: int
    page: int
    pages: int


class Page(BaseModel):
    """Which page: the number from 1, and how many rows it has."""

    number: int
    size: int

    def of(self, rows: Sequence[T]) -> Paged[T]:
        items = list(rows[(self.number - 1) * self.size : self.number * self.size])
        return Paged(items=items, total=len(rows), page=self.number, pages=pages_of(len(rows), self.size))


def page(
    page: Annotated[int, Query(ge=1, le=MOST_PAGE, description="the page, from 1")] = 1,
    per_page: Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="rows of a page")] = 100,
) -> Page:
    return Page(number=page, size=per_page)


Which = Annotated[Page, Depends(page)]


class Ticket(Body):
    """What `undo` of a change was."""

    undo: str


class Done(BaseModel):
    """What came of a change, for people."""

    text: str


MOST_ID = 2**63 - 1  # of a database's whole numbers
Id = Annotated[int, Path(le=MOST_ID)]
ManyIds = Annotated[list[Annotated[int, Field(le=MOST_ID)]], Field(max_length=MOST_IDS)]
CsvFile = Annotated[bytes, RawBody(media_type="text/csv", description="the file")]


def csv_reply(text: str, name: str) -> Response:
    """Give a table as a file to be kept under a name."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


# Errors


class Fault(BaseModel):
    """What is wrong. `field` names the field that it is about, `hint` one thing to try."""

    message: str
    hint: str | None = None
    field: str | None = None


class Error(BaseModel):
    """An error. `theirs` is, for a conflict, what the row is now: null where it is gone."""

    error: Fault
    theirs: Any = None


def reply_of(
    status: int, message: str, hint: str = "", field: str = "", headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    told = {"message": message, "hint": hint, "field": field}
    content = {"error": {name: text for name, text in told.items() if text}, **more}
    return JSONResponse(content, status, dict(headers or {}))


def error_reply(error: Refused | RequestValidationError) -> Response:
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    headers = {}
    if error.status == 401:  # the page's script asks with a session: a challenge would make the browser ask for a password
        headers["WWW-Authenticate"] = 'Bearer realm="hslpy"'
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.wait_s)
    more = {"theirs": to_jsonable_python(error.theirs)} if isinstance(error, Conflict) else {}
    field = f"rules.{error.index}" if isinstance(error, BadRule) else getattr(error, "field", "")
    message, hint = error.message, getattr(error, "hint", "")
    text, mark, near = message.partition("; did you mean ")
    if mark and not hint:
        message, hint = text, f"did you mean {near}"
    return reply_of(error.status, message, hint, field, headers, **more)


def _invalid(error: RequestValidationError) -> Response:
    """Give the reply for the first field that is wrong."""
    first = error.errors()[0]
    context = first.get("ctx") or {}
    place = [str(one) for one in first["loc"] if one not in ("body", "query", "path")]
    if first["type"] == "json_invalid":
        return reply_of(400, f"the body is no JSON: {context.get('error', '')}")
    if first["type"] == "unexpected":
        return reply_of(400, context["message"], context["hint"], ".".join([*place, context["field"]]))
    if first["type"] == "missing":
        name = ".".join(place)
        return reply_of(400, f"missing field '{name}'" if name else "a body of JSON is wanted", field=name)
    name = ".".join(place)
    message = str(first["msg"]).removeprefix("Value error, ")
    return reply_of(400, f"'{name}': {message[:1].lower()}{message[1:]}" if name else message, field=name)


__all__ = [
    "SUPER", "Body", "Caller", "CsvFile", "Done", "Error", "Id", "ManyIds", "NotFound", "Page", "Paged", "Refused", "Route",
    "Ticket", "Unavailable", "Which", "csv_reply", "error_reply", "needs", "needs_of", "noun", "page", "reply_of",
]  # fmt: skip
