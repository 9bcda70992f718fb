"""The central system of the site: what chargers say goes into the database."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections

from ocppsync import CentralSystem, RequestMetadata, utc_now
from ocppsync import v16 as ocpp

from .models import Charger

__all__ = ["cs"]

cs = CentralSystem(port=None, protocols=["ocpp1.6"], request_timeout=10)


def with_database(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let go of the thread's database connection, as Django itself does around each of its requests."""

    @functools.wraps(function)
    def wrapped(*arguments: Any) -> Any:
        close_old_connections()
        try:
            return function(*arguments)
        finally:
            close_old_connections()

    return wrapped


def _note(identity: str, **values: Any) -> None:
    # In one statement: handlers of one charger may run at the same time.
    Charger.objects.bulk_create(
        [Charger(identity=identity, **values)],
        update_conflicts=True,
        unique_fields=["identity"],
        update_fields=[*values, "seen"],
    )


@with_database
def note_connection(identity: str, status: str) -> None:
    """Remember when a charger came, or went."""
    _note(identity)


cs.add_connection_listener(note_connection)


@cs.on("BootNotification")
@with_database
def boot(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> ocpp.BootNotificationResponse:
    """Remember what a charger is."""
    _note(metadata.charge_point_id, vendor=payload["chargePointVendor"], model=payload["chargePointModel"])
    return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}


@cs.on("StatusNotification")
@with_database
def status(payload: ocpp.StatusNotificationRequest, metadata: RequestMetadata) -> ocpp.StatusNotificationResponse:
    """Remember what a charger does."""
    _note(metadata.charge_point_id, status=payload["status"])
    return {}


@cs.on("Heartbeat")
@with_database
def heartbeat(payload: ocpp.HeartbeatRequest, metadata: RequestMetadata) -> ocpp.HeartbeatResponse:
    """Remember that a charger is alive."""
    _note(metadata.charge_point_id)
    return {"currentTime": utc_now()}
