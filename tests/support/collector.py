"""Measurements without Python's garbage collector: when it runs, and over what, is the server's affair."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector out of what is measured inside."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
