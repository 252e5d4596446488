"""What holds for all tests: a loaded machine fails none of them, so Hypothesis measures no times."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
