"""Masks payloads and messages for people and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from ..json_text import is_too_deep, read, rewrite
from .fields import FOLDED_FIELDS, SECRET_NAME, SECRET_WORD, Fields, has_type, is_key_code, is_plain_name, says_key_code
from .outlines import MASK, outline

__all__ = ["has_secrets", "masked", "masked_answer", "masked_text"]

_MAX_DEPTH = 12
_SPACE = re.compile(r"(\s+)")
_NAMES = re.compile(r"[\w.,;/-]*")
# Nothing is masked in a message without any of these: the last three begin an escape, user information or an object
# within a text.
_KEY_CODE = r"[\W_]*".join("keycode")
_SUSPECT = re.compile(rf'pass|pwd|secret|pin|vpn|private|authorization|{_KEY_CODE}|\\|@|"\s*\{{', re.IGNORECASE)


def masked(value: Any, names: Collection[str] = ()) -> Any:
    """Return a copy of a payload with its secrets replaced by ``***``.

    Secrets are the values of the configuration key AuthorizationKey and of vendors' keys such as WifiPassword, of
    variables such as BasicAuthPassword, and of fields with such names; the passwords, PIN and key of a
    SetNetworkProfile; passwords in URLs; and idTokens of type KeyCode, which are the PINs of drivers (2/201 C04.FR.04).
    The case of names does not matter. JSON within a text is masked as well. Anything nested deeper than in a message of
    OCPP becomes ``…``.

    Args:
        value: a payload, or any part of a message.
        names: further fields to mask, wherever they are. Of an object, the names of its fields and its type remain.
    """
    return _Masker(value, names).mask(value, 0)


def has_secrets(payload: Any) -> bool:
    """Return whether `masked` replaces anything in a payload, so that an answer may quote it."""
    return bool(masked(payload) != payload)


class _Surroundings:
    """The object that contains a field. Each question about it is answered once, or many fields would take long."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._answers: dict[Callable[[Fields], bool], bool] = {}

    def holds(self, predicate: Callable[[Fields], bool]) -> bool:
        if predicate not in self._answers:
            self._answers[predicate] = predicate(self._fields)
        return self._answers[predicate]


class _Masker:
    """Masks one message."""

    def __init__(self, message: Any, names: Collection[str]) -> None:
        self._message = message
        self._names = frozenset(name.casefold() for name in names)
        self._has_key_code: bool | None = None  # None: not known yet

    def mask(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, str):
            return self._text(value, depth)
        if not isinstance(value, (dict, list)):
            return value
        if says_key_code(value):
            # The type and the PIN may have changed places, or the PIN may be in another field.
            if isinstance(value, list):
                return [item if is_key_code(item) else MASK for item in value]
            return {
                name if is_plain_name(name) else MASK: item if is_key_code(item) else MASK
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self.mask(item, depth + 1) for item in value]
        around = _Surroundings(value)
        return {name: self._field(str(name), item, around, depth) for name, item in value.items()}

    def _field(self, name: str, item: Any, around: _Surroundings, depth: int) -> Any:
        folded = name.casefold()
        if folded in self._names:
            return _shape(item)
        listed = FOLDED_FIELDS.get(folded)
        if SECRET_NAME.search(name) or (listed is not None and around.holds(listed.is_masked)):
            return MASK
        # A token without a type beside it, in a message that has the type somewhere: it may belong to the token.
        if "token" in folded and not has_type(item) and not around.holds(has_type) and self._mentions_key_code():
            return MASK
        return self.mask(item, depth + 1)

    def _text(self, text: str, depth: int) -> str:
        first = text.lstrip()[:1]
        if first in ("{", "[", '"'):
            try:
                value = read(text, repeats=False)
            except ValueError:
                if first == "{":
                    return outline(text)
            else:
                safe = _Masker(value, self._names).mask(value, depth + 1)
                return text if safe == value else rewrite(safe)
        # In a text that is neither JSON nor only a name, what stands beside the word may be the secret.
        return MASK if SECRET_WORD.search(text) and not _NAMES.fullmatch(text) else _without_userinfo(text)

    def _mentions_key_code(self) -> bool:
        if self._has_key_code is None:
            self._has_key_code = _contains(self._message, is_key_code)
        return self._has_key_code


def _without_userinfo(text: str) -> str:
    """Return a text with the user information of its URLs masked, also if a password in it has an @ or a slash."""
    if "@" not in text or "://" not in text:
        return text
    return "".join(map(_safe_word, _SPACE.split(text)))


def _safe_word(word: str) -> str:
    start, end = word.find("://") + 3, word.rfind("@")
    return f"{word[:start]}{MASK}{word[end:]}" if 3 <= start < end else word


def _contains(value: Any, predicate: Callable[[Any], bool]) -> bool:
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)
        elif predicate(current):
            return True
    return False


def _shape(value: Any) -> Any:
    if not isinstance(value, dict):
        return MASK
    kind = value.get("type")
    is_kind = isinstance(kind, str) and kind[:1].isalpha() and kind.isalnum()
    return {name if is_plain_name(name) else MASK: kind if name == "type" and is_kind else MASK for name in value}


def masked_text(text: str, names: Collection[str] = ()) -> str:
    """Return the text of a message with its secrets replaced by ``***``, unchanged if it has none; see `masked`.

    Of a text that is not an OCPP-J message, all values are replaced: ``[3,"1",{"key":"***","val***``.
    """
    try:
        message = read(text, repeats=False)
    except ValueError:
        return outline(text)
    if not _is_frame(message):
        return outline(text)
    if not names and text.isascii() and not _SUSPECT.search(text) and not is_too_deep(message, _MAX_DEPTH):
        return text
    safe = masked(message, names)
    # A text without secrets stays byte for byte as it is on the wire.
    return text if safe == message else rewrite(safe)


def masked_answer(text: str, names: Collection[str] = ()) -> str:
    """Return the text of the answer to a CALL with a secret as `masked_text`, and without its texts for people.

    Many peers quote there what they refuse: ``[4,"1","FormationViolation","'s3cret' is too short",{}]``.
    """
    safe = masked_text(text, (*names, "additionalInfo"))
    try:
        message = read(safe)
    except ValueError:
        return safe
    if message[0] not in (4, 5):
        return safe
    return rewrite([*message[:3], *(_shape(part) for part in message[3:])])


def _is_frame(message: Any) -> bool:
    if not isinstance(message, list) or len(message) < 3 or not isinstance(message[1], (str, int)):
        return False
    kind, elements = message[0], message[2:]
    if kind == 3:
        return len(elements) == 1 and _is_payload(elements[0])
    if kind in (2, 6):
        return len(elements) == 2 and isinstance(elements[0], str) and _is_payload(elements[1])
    is_error = kind in (4, 5) and len(elements) <= 3 and all(isinstance(part, str) for part in elements[:2])
    return is_error and _is_payload(elements[2] if len(elements) == 3 else None)


def _is_payload(value: Any) -> bool:
    return value is None or isinstance(value, dict)
