"""Databases for the calls of the API."""

from ..support.databases import clock, database, database_url, postgresql

__all__ = ["clock", "database", "database_url", "postgresql"]
