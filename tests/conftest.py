"""What holds for all tests: a loaded machine fails none of them, and none keeps what it used."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_THRESHOLD = gc.get_threshold()


@pytest.fixture(scope="module", autouse=True)
def thawed() -> Iterator[None]:
    """Undo what a server does as it starts: it takes all there is for its own, and has the collector never look at it."""
    yield
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.set_threshold(*_THRESHOLD)
        gc.collect()
