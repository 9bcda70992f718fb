"""Settings for every test."""

from __future__ import annotations

from hypothesis import settings

# Examples are judged by what they find: a busy machine may take long over one.
settings.register_profile("ocppsync", deadline=None)
settings.load_profile("ocppsync")
