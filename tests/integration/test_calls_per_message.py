"""How many functions of ocppsync a message passes, on all threads together: a way that grows is noticed here."""

from __future__ import annotations

from python_calls import of_a_call, of_a_request


def test_a_call_of_a_charge_point_takes_few_calls() -> None:
    calls, files = of_a_call()
    assert 10 < calls < 37
    assert 5 < files <= 18


def test_a_request_of_ours_takes_few_calls() -> None:
    calls, files = of_a_request()
    assert 10 < calls < 30
    assert 5 < files <= 14
