"""Which actions exist, and whether a payload is right."""

from .validators import validator

__all__ = ["validator"]
