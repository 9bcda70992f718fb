"""Secrets in messages: on no way out of a central system, whatever the message looks like, but to the handler."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from bystander import besieged
from support import DEADLINE
from wire import dial

from ocppsync import CallErrorReceived, OCPPRequestError
from ocppsync.cli.conversation import Conversation
from ocppsync.events import LoggingObserver
from ocppsync.journal import Journal

LOGGING = LoggingObserver(logging.getLogger("ocppsync.test"))
PIN = "48151623"
TOKEN = {"idToken": PIN, "type": "KeyCode"}
LONG = {"idToken": PIN * 40, "type": "KeyCode"}
EVENT = {
    **{"eventType": "Started", "timestamp": "2026-01-01T00:00:00Z", "triggerReason": "Authorized", "seqNo": 0},
    **{"transactionInfo": {"transactionId": "T1"}, "idToken": TOKEN},
}


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Authorize", {"idToken": TOKEN}),
        ("Authorize", {"idToken": LONG}),
        ("Authorize", {"idToken": {**TOKEN, "idToken": int(PIN)}}),
        ("Authorize", {"idToken": {"idToken": PIN, "type": PIN}, "x": "KeyCode"}),
        ("Authorize", {"IdToken": {"IdToken": PIN, "Type": "keycode"}}),
        ("Authorize", TOKEN),
        ("TransactionEvent", EVENT),
        ("TransactionEvent", {**EVENT, "idToken": LONG}),
        ("DataTransfer", {"vendorId": "com.example", "data": json.dumps(TOKEN)}),
        ("DataTransfer", {"vendorId": "com.example", "data": TOKEN, "messageId": 1}),
        ("com.example.Open", TOKEN),
    ],
)
def test_a_pin_reaches_only_the_handler(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, action: str, payload: Any
) -> None:
    journal = Journal(tmp_path / "wire.jsonl")
    output = io.StringIO()
    shown = [Conversation(output), Conversation(output, verbose=True)]

    def handle(received: Any, metadata: Any) -> Any:
        for conversation in shown:
            conversation.request(metadata.charge_point_id, True, action, received)
        return {"idTokenInfo": {"status": "Accepted", "groupIdToken": LONG}}  # invalid, and the log says so

    with besieged(caplog, may_fail=True, enforce_registration=False, observers=[LOGGING, journal]) as siege:
        for known in ("Authorize", "TransactionEvent", "DataTransfer"):
            siege.cs.on(known, version="2.0.1")(handle)
        with dial(siege.port) as attacker:
            attacker.upgrade("/attacker", Sec_WebSocket_Protocol="ocpp2.0.1")
            attacker.send_text(json.dumps([2, "1", action, payload]))
            answer = attacker.read_text()
            assert json.loads(answer)[0] == 4
    journal.close()
    for text in (answer, caplog.text, output.getvalue(), (tmp_path / "wire.jsonl").read_text()):
        assert PIN not in text
    assert bool(output.getvalue()) == ("InternalError" in answer)


@pytest.mark.parametrize("is_error", [True, False])
def test_a_request_with_a_pin_may_be_quoted_back(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, is_error: bool
) -> None:
    request = {"idToken": TOKEN, "remoteStartId": 1}
    with (
        besieged(caplog, enforce_registration=False, journal=tmp_path / "wire.jsonl") as siege,
        dial(siege.port) as attacker,
    ):
        attacker.upgrade("/attacker", Sec_WebSocket_Protocol="ocpp2.0.1")
        siege.events.wait_until(lambda items: ("attacker", "connected") in items)
        future = siege.cs.submit_request("attacker", "RequestStartTransaction", request)
        call = json.loads(attacker.read_text())
        assert call[3] == request
        quoted = json.dumps(call[3])
        answer = [4, call[1], "GenericError", quoted, {}] if is_error else [3, call[1], {"status": quoted}]
        attacker.send_text(json.dumps(answer))
        error = future.exception(DEADLINE)
        assert isinstance(error, OCPPRequestError)
    if isinstance(error, CallErrorReceived):
        assert error.description == quoted, "the application, which has sent it, may look at all of it"
    for text in (str(error), repr(error), caplog.text, (tmp_path / "wire.jsonl").read_text()):
        assert PIN not in text


KEY = "s3cretKey0123456"
CHANGE = json.dumps([2, "1", "ChangeConfiguration", {"key": "AuthorizationKey", "value": KEY}])
ANSWER = json.dumps([3, "1", {"configurationKey": [{"value": KEY, "key": "AuthorizationKey", "readonly": False}]}])


def test_what_is_not_a_message_is_nowhere_shown_in_clear(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    texts = [text[:length] for text in (CHANGE, ANSWER) for length in range(len(text) - 10, len(text))]
    texts += [CHANGE.replace("{", "[").replace("}", "]"), CHANGE.replace(',"', ',"9","'), f"[{KEY}", f'["{KEY}"]']
    journal = Journal(tmp_path / "wire.jsonl")
    with besieged(caplog, observers=[LOGGING, journal]) as siege, siege.attacker() as attacker:
        for text in texts:
            attacker.send_text(text)
        attacker.send_text('[2,"last","Heartbeat",{}]')
        while json.loads(attacker.read_text())[1] != "last":
            pass
        refused = siege.cs.submit_request("attacker", "ChangeConfiguration", {"key": "AuthorizationKey", "value": KEY})
        call = json.loads(attacker.read_text())
        quoted = f"'{KEY}' is too short"
        attacker.send_text(json.dumps([4, call[1], "FormationViolation", quoted, {"cause": quoted}]))
        refusal = refused.exception(DEADLINE)
        assert isinstance(refusal, CallErrorReceived)
        assert refusal.details == {"cause": quoted}, "the application, which has sent it, may look at all of it"
        answers = siege.cs.submit_request("attacker", "ChangeConfiguration", {"key": "AuthorizationKey", "value": KEY})
        call = json.loads(attacker.read_text())
        attacker.send_text(json.dumps([3, call[1], {"status": "Accepted"}])[:-1] + f',"{KEY}"')
        attacker.send_text(json.dumps([4, call[1], "GenericError", json.dumps(call), {}]))
        error = answers.exception(DEADLINE)
    journal.close()
    written = (tmp_path / "wire.jsonl").read_text(encoding="utf-8")
    assert written.count("***") >= len(texts)
    for shown in (written, caplog.text, repr(error), repr(refusal), str(refusal)):
        assert KEY not in shown
