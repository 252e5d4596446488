"""The JSON API, put together from its nouns, and its description. In: a `Site`. Out: an ASGI application for `/api/v1`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response

from hslpy.admin.api import (
    admins,
    block_lists,
    checks,
    delivery_ips,
    directory,
    filters,
    helos,
    nodes,
    queue,
    reputation,
    session,
    site_settings,
    suspensions,
    warmups,
)
from hslpy.admin.api.frame import Caller, Error, Route, needs, needs_of, noun, reply_of
from hslpy.admin.site import Site
from hslpy.egress.accounts.admins import SCOPES

PREFIX = "/api/v1"
NOUNS = (
    session, admins, directory, nodes, delivery_ips, helos, warmups, suspensions, checks, block_lists, reputation, queue,
    site_settings, filters,
)  # fmt: skip
DESCRIPTION = (
    "Everything that the page does. Errors are objects of the schema `Error`. Requests bring a token "
    "(`Authorization: Bearer ...`), an admin's name and password (HTTP Basic), or the page's session and its `X-CSRF-Token`."
)

about = noun("about")


@about.get("/openapi.json", summary="Describe the API, as OpenAPI", response_model=dict[str, Any])
def openapi(caller: Annotated[Caller, needs(None)], request: Request) -> Response:
    return JSONResponse(describe(request.app))


def add_json_api(app: FastAPI, site: Site) -> None:
    app.mount(PREFIX, json_api(site))


def json_api(site: Site) -> FastAPI:
    """Give the API without its prefix."""
    api = FastAPI(title="hslpy", version="1", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    api.state.site = site
    for router in _routers():
        api.include_router(router)

    for status in (400, 404, 405):  # of the framework's own
        api.add_exception_handler(status, _not_ours)
    return api


async def _not_ours(request: Request, error: Exception) -> Response:
    status = int(getattr(error, "status_code", 500))
    texts = {404: "there is nothing at this path", 405: f"'{request.method}' cannot be used here"}
    message = texts.get(status, str(getattr(error, "detail", "")))
    return reply_of(status, message, headers=getattr(error, "headers", None))


def routes() -> list[Route]:
    """Give all routes, in the nouns' order."""
    return [one for router in _routers() for one in router.routes if isinstance(one, Route)]


def _routers() -> list[APIRouter]:
    return [about, *(one.router for one in NOUNS)]


def describe(api: FastAPI) -> dict[str, Any]:
    """Give the API as an OpenAPI document, each operation with the scope and the roles that it wants."""
    found = get_openapi(
        title=api.title, version=api.version, description=DESCRIPTION, routes=api.routes, servers=[{"url": PREFIX}]
    )
    schemes = {
        "token": {"type": "http", "scheme": "bearer", "description": "; ".join(f"{k}: {v}" for k, v in SCOPES.items())},
        "password": {"type": "http", "scheme": "basic"},
        "session": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "with the session's cookie"},
    }
    components = found.setdefault("components", {})
    components["securitySchemes"] = schemes
    error = Error.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = components.setdefault("schemas", {})
    schemas.update(error.pop("$defs", {}))
    schemas["Error"] = error
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    reply = {
        "description": "it was refused",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for route in routes():
        needed = needs_of(route)
        for method in route.methods or ():
            operation = found["paths"].get(route.path_format, {}).get(method.lower())
            if operation is None:
                continue
            operation["responses"].pop("422", None)
            operation["responses"]["4XX"] = reply
            if needed is not None:
                operation["security"] = [
                    {"token": [needed.scope] if needed.scope else []},
                    {"password": []},
                    {"session": []},
                ]
                wanted = f"Scope: {needed.scope or 'any'}. Roles: {', '.join(needed.roles)}."
                operation["description"] = "\n\n".join(filter(None, (operation.get("description", ""), wanted)))
    return found
