"""The cases of block A for a CSMS that are about passwords, for a CSMS that checks them in ``authorize``.

test_csms_a_security.py has them for one with security profiles.
"""

from __future__ import annotations

from typing import Any

import pytest
from certification import BOOT, NOW, PASSWORD, STATION, connector_status
from support import basic, raw, serving
from websockets.exceptions import InvalidStatus

from ocppsync import CentralSystem, HttpRequest


def authorize(request: HttpRequest, charge_point_id: str) -> bool:
    return request.basic_credentials == (charge_point_id.encode(), PASSWORD.encode())


def credentials(user: str, password: str) -> dict[str, Any]:
    return {"subprotocols": ["ocpp2.0.1"], "additional_headers": {"Authorization": basic(user, password.encode())}}


def test_tc_a_01_csms_right_credentials() -> None:
    with serving(authorize=authorize) as cs:
        cs.on("BootNotification")(lambda payload, metadata: {"status": "Accepted", "currentTime": NOW, "interval": 60})
        cs.on("StatusNotification")(lambda payload, metadata: {})
        with raw(cs, STATION, **credentials(STATION, PASSWORD)) as point:
            assert point.websocket.subprotocol == "ocpp2.0.1"
            assert point.call("1", "BootNotification", BOOT)[2]["status"] == "Accepted"
            assert point.call("2", "StatusNotification", connector_status("Available")) == [3, "2", {}]


def check_refused(cs: CentralSystem, **options: Any) -> None:
    with pytest.raises(InvalidStatus) as caught, raw(cs, STATION, **options):
        pass
    answer = caught.value.response
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="ocpp"')
    assert cs.charge_points == []


@pytest.mark.parametrize("user", ["CS002", "", "cs001", "Invalid"])
def test_tc_a_02_csms_the_username_is_not_the_identity(user: str) -> None:
    with serving(authorize=authorize) as cs:
        check_refused(cs, **credentials(user, PASSWORD))


@pytest.mark.parametrize("password", [PASSWORD[:-1], "0123456789abcdef*-_=:+|@.", ""])
def test_tc_a_03_csms_wrong_password(password: str) -> None:
    with serving(authorize=authorize) as cs:
        check_refused(cs, **credentials(STATION, password))


def test_tc_a_03_csms_no_password() -> None:
    with serving(authorize=authorize) as cs:
        check_refused(cs, subprotocols=["ocpp2.0.1"])
