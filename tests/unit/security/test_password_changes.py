"""Which requests bring a password, and what the answers say of it."""

from __future__ import annotations

from typing import Any

import pytest

from ocppsync.security.password_changes import password_changes

WORD = "correct horse battery"


def variable(component: str, name: str = "BasicAuthPassword", **more: Any) -> dict[str, Any]:
    return {"component": {"name": component}, "variable": {"name": name}, "attributeValue": WORD, **more}


def slot(number: str) -> dict[str, Any]:
    return variable("NetworkConfiguration") | {"component": {"name": "NetworkConfiguration", "instance": number}}


def variables(*items: Any) -> dict[str, Any]:
    return {"setVariableData": list(items)}


def results(*items: tuple[dict[str, Any], str]) -> dict[str, Any]:
    kept = ("component", "variable", "attributeType")
    return {
        "setVariableResult": [
            {name: item[name] for name in kept if name in item} | {"attributeStatus": status} for item, status in items
        ]
    }


@pytest.mark.parametrize(
    ("version", "action", "payload", "found"),
    [
        ("1.6", "ChangeConfiguration", {"key": "AuthorizationKey", "value": "00" * 16}, [bytes(16)]),
        ("1.6", "ChangeConfiguration", {"key": "authorizationKEY", "value": WORD}, [WORD.encode()]),
        ("1.6", "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "00" * 16}, []),
        ("1.6", "SetVariables", variables(variable("SecurityCtrlr")), []),
        ("2.0.1", "ChangeConfiguration", {"key": "AuthorizationKey", "value": "00" * 16}, []),
        ("2.0.1", "SetVariables", variables(variable("SecurityCtrlr")), [WORD.encode()]),
        ("2.0.1", "SetVariables", variables(variable("securityctrlr", attributeType="Actual")), [WORD.encode()]),
        ("2.0.1", "SetVariables", variables(variable("SecurityCtrlr", attributeType="MaxSet")), []),
        ("2.0.1", "SetVariables", variables(variable("SecurityCtrlr", "Identity")), []),
        ("2.1", "SetVariables", variables(slot("1"), slot("2")), [WORD.encode()] * 2),
        ("2.1", "SetNetworkProfile", {"connectionData": {"basicAuthPassword": WORD}}, [WORD.encode()]),
        ("2.1", "SetNetworkProfile", {"connectionData": {}}, []),
        ("2.1", "Reset", {"type": "Immediate"}, []),
    ],
)
def test_the_passwords_of_a_request(version: str, action: str, payload: Any, found: list[bytes]) -> None:
    assert [change.password for change in password_changes(version, action, payload)] == found


@pytest.mark.parametrize("payload", [None, [], {}, {"key": 1}, {"setVariableData": [None, {}]}, {"connectionData": 1}])
def test_nothing_is_found_in_nonsense(payload: Any) -> None:
    for version, action in (("1.6", "ChangeConfiguration"), ("2.1", "SetVariables"), ("2.1", "SetNetworkProfile")):
        assert password_changes(version, action, payload) == []


@pytest.mark.parametrize(
    ("status", "soon", "later"),
    [
        ("Accepted", "accepted", "deferred"),
        ("RebootRequired", "deferred", "deferred"),
        ("Rejected", "refused", "refused"),
        ("NotSupported", "refused", "refused"),
        (None, "unknown", "unknown"),
    ],
)
def test_the_verdict_of_each_status(status: Any, soon: str, later: str) -> None:
    (key,) = password_changes("1.6", "ChangeConfiguration", {"key": "AuthorizationKey", "value": WORD})
    (network,) = password_changes("2.1", "SetNetworkProfile", {"connectionData": {"basicAuthPassword": WORD}})
    assert [change.verdict({"status": status}) for change in (key, network)] == [soon, later]
    item = variable("SecurityCtrlr")
    (own,) = password_changes("2.1", "SetVariables", variables(item))
    assert own.verdict(results((item, status))) == soon
    (first, second) = password_changes("2.1", "SetVariables", variables(slot("1"), slot("2")))
    answer = results((slot("2"), status), (slot("1"), "Rejected"))
    assert [first.verdict(answer), second.verdict(answer)] == ["refused", later]


@pytest.mark.parametrize("answer", [None, [], {}, {"setVariableResult": [1]}, results((variable("Other"), "Accepted"))])
def test_a_response_without_a_verdict(answer: Any) -> None:
    (change,) = password_changes("2.0.1", "SetVariables", variables(variable("SecurityCtrlr")))
    assert change.verdict(answer) == "unknown"
