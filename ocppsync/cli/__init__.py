"""The command ``ocppsync``."""

from .main import main

__all__ = ["main"]
