"""The central system of the site: stores what chargers report in the database."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections

from ocppsync import CentralSystem, RequestMetadata, utc_now
from ocppsync import v16 as ocpp

from .models import Charger

__all__ = ["cs"]

cs = CentralSystem(port=None, protocols=["ocpp1.6"])


def with_database(function: Callable[..., Any]) -> Callable[..., Any]:
    """Close stale database connections of the thread before and after a call, as Django does around a request."""

    @functools.wraps(function)
    def wrapped(*arguments: Any) -> Any:
        close_old_connections()
        try:
            return function(*arguments)
        finally:
            close_old_connections()

    return wrapped


def _store(identity: str, **values: Any) -> None:
    # One statement, because a handler and a listener may store the same charger at once.
    Charger.objects.bulk_create(
        [Charger(identity=identity, **values)],
        update_conflicts=True,
        unique_fields=["identity"],
        update_fields=[*values, "seen"],
    )


@with_database
def store_connection(identity: str, status: str) -> None:
    """Store when a charger connects or disconnects."""
    _store(identity)


cs.add_connection_listener(store_connection)


@cs.on("BootNotification")
@with_database
def boot(payload: ocpp.BootNotificationRequest, metadata: RequestMetadata) -> ocpp.BootNotificationResponse:
    """Store the vendor and model of a charger."""
    _store(metadata.charge_point_id, vendor=payload["chargePointVendor"], model=payload["chargePointModel"])
    return {"status": "Accepted", "currentTime": utc_now(), "interval": 300}


@cs.on("StatusNotification")
@with_database
def status(payload: ocpp.StatusNotificationRequest, metadata: RequestMetadata) -> ocpp.StatusNotificationResponse:
    """Store the status of a charger."""
    _store(metadata.charge_point_id, status=payload["status"])
    return {}


@cs.on("Heartbeat")
@with_database
def heartbeat(payload: ocpp.HeartbeatRequest, metadata: RequestMetadata) -> ocpp.HeartbeatResponse:
    """Store when a charger was last seen."""
    _store(metadata.charge_point_id)
    return {"currentTime": utc_now()}
