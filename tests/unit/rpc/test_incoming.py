"""One CALL or SEND of the peer, as parsing makes it."""

from __future__ import annotations

import pytest
from incoming import incoming

SECRET = '{"idTag":"a secret"}'


@pytest.mark.parametrize(("kind", "name"), [(2, "CALL"), (6, "SEND")])
def test_a_repr_tells_what_it_is_and_no_secrets(kind: int, name: str) -> None:
    call = incoming(f'[{kind},"1","Authorize",{SECRET}]')
    assert call.is_send is (kind == 6)
    assert (call.message_id, call.action, call.payload) == ("1", "Authorize", {"idTag": "a secret"})
    assert repr(call) == f"<{name} '1' 'Authorize'>"


def test_a_new_one_is_neither_answered_nor_handled() -> None:
    call = incoming('[2,"1","Authorize",{}]')
    assert (call.answer, call.claimed, call.thread) == (None, False, None)


def test_two_of_the_same_content_are_two() -> None:
    first, second = (incoming('[2,"1","Authorize",{}]') for _ in range(2))
    assert first != second
    assert len({first, second}) == 2
