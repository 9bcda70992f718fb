"""The database model of a charger."""

from __future__ import annotations

from typing import Any

from django.db import models


class Charger(models.Model):
    """A charger that has connected at least once."""

    objects: Any = models.Manager()  # Django's default, declared for type checkers

    identity = models.CharField(max_length=255, primary_key=True)
    vendor = models.CharField(max_length=50, default="")
    model = models.CharField(max_length=50, default="")
    status = models.CharField(max_length=50, default="")
    seen = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return str(self.identity)
