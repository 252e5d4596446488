"""What holds for all tests: a loaded machine fails none of them, and none keeps what it used."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_THRESHOLD = gc.get_threshold()


@pytest.fixture(scope="module", autouse=True)
def nothing_kept() -> Iterator[None]:
    """Undo what makes sense once a process: a server that starts takes all there is for its own, and has the collector
    never look at it; statements are kept for each database that was opened.
    """
    yield
    if tables := sys.modules.get("hslpy.egress.store.tables"):
        for mapper in tables.Base.registry.mappers:
            mapper._compiled_cache.clear()
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.set_threshold(*_THRESHOLD)
        gc.collect()
