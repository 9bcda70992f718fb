"""The actions of each version of OCPP, and the validation of their payloads."""

from .validators import validator

__all__ = ["validator"]
