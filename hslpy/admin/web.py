"""The web application, put together: the classic API, the JSON API, the pages. In: a `Site`. Out: an ASGI application."""

from __future__ import annotations

from fastapi import FastAPI

from hslpy.admin.api.application import add_json_api
from hslpy.admin.at_once import AtOnce
from hslpy.admin.classic import add_classic_api
from hslpy.admin.pages import add_pages
from hslpy.admin.site import Site


def web_app(site: Site) -> FastAPI:
    """Give the application on an open database."""
    app = FastAPI(title="hslpy", docs_url=None, redoc_url=None, openapi_url=None)
    add_classic_api(app, site)
    add_json_api(app, site)
    add_pages(app, site)
    app.add_middleware(AtOnce, site=site)
    return app
