"""What follows the answers of a simulated charge point."""

from __future__ import annotations

from typing import Any

from support import Recorder, serving

from ocppsync import ChargePoint, Request, RequestMetadata
from ocppsync.simulator.accepted_requests import AcceptedRequests


class Met:
    """A charge point that gives prepared answers, and records what it carries out."""

    def __init__(self) -> None:
        self.answer: Any = {"status": "Accepted"}
        self.carried_out = Recorder()
        self.requests = AcceptedRequests(self.give, {"Reset": self.carried_out}, lambda what, work: work())

    def give(self, request: Request[str, Any], metadata: RequestMetadata) -> Any:
        return self.answer


def test_only_accepted_requests_are_carried_out() -> None:
    met, refusal = Met(), {"status": "Rejected"}
    with serving() as cs, ChargePoint("CP1", met.requests, f"ws://127.0.0.1:{cs.port}") as charge_point:
        met.requests.carry_out_for(charge_point)
        for answer, kind in ((met.answer, "Soft"), (refusal, "Soft"), (met.answer, "Hard")):
            met.answer = answer
            assert cs.send_request("CP1", "Reset", {"type": kind}) == answer
        assert cs.send_request("CP1", "ClearCache") == met.answer, "an action without an effect"
        assert met.carried_out.wait(2) == [{"type": "Soft"}, {"type": "Hard"}]


def test_what_was_accepted_on_another_connection_is_forgotten() -> None:
    met = Met()
    metadata: Any = type("Metadata", (), {"message_id": "7"})
    assert met.requests(Request("Reset", {"type": "Soft"}), metadata) == met.answer
    assert met.requests._accepted == {"7"}
    met.requests.forget()
    assert met.requests._accepted == set()
