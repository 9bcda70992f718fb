"""The state that the answers of a charge point depend on, in every version of OCPP."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .availability import CONNECTOR, EVSE, STATION, Availability, Part
from .local_authorization import AuthorizationCache, LocalList, Token
from .table import Answer, Table
from .value_types import is_true, members

__all__ = ["StationState"]


class StationState(ABC):
    """The state that the answers of a charge point depend on in every version; the program keeps it up to date.

    Before a transaction the program calls `begin_transaction`, after it `end_transaction`.

    Attributes:
        transaction_id: the id of the running transaction, or None.
        attended: whether the program carries out remote starts, resets and (2.x) firmware updates; if not, they
            are rejected.
        registered: whether the central system has accepted the charge point since it booted.
        availability: which parts are in service.
        local_list, cache: the tokens that it knows.
        reserved: whether the connector is kept for a driver.
        installing: whether it is out of service for the installation of firmware.
    """

    _answers: Table

    def __init__(self, local_list: LocalList, fixed: Mapping[str, Answer] | None = None) -> None:
        self._fixed = fixed or {}
        self.reserved = False
        self.installing = False
        self.transaction_id: int | str | None = None
        self.attended = False
        self.registered = False
        self.availability = Availability()
        self.local_list = local_list
        self.cache = AuthorizationCache()
        # Guards `availability` and whether a transaction runs: to answer that a connector is out of service, and to
        # begin a transaction on it, exclude each other.
        self._lock = threading.Lock()
        self._reserved = False

    # Answers.

    def add_answers(self, table: Table) -> None:
        """Answer the actions of a table as it says, except those with a fixed answer."""
        self._answers = {**self._answers, **table, **self._fixed}

    def check_first(self, action: str, refusal: Callable[[Any], Answer | None]) -> None:
        """Before an action is answered, call ``refusal`` with the payload; what it returns is the answer, unless None.

        A fixed answer stays.
        """
        usual = self._answers[action]

        def answer(payload: Any) -> Answer:
            return refusal(payload) or (usual(payload) if callable(usual) else usual)

        self.add_answers({action: answer})

    # Settings.

    @abstractmethod
    def setting(self, key: str) -> str:
        """Return the value of a setting, by the name of its configuration key in 1.6 (C16 §9)."""

    def number(self, key: str) -> int:
        """Return the value of a setting that is an integer."""
        return int(self.setting(key))

    def flag(self, key: str) -> bool:
        """Return the value of a setting that is a boolean."""
        return is_true(self.setting(key))

    def measurands(self, key: str) -> Sequence[str]:
        """Return the measurands that a setting lists."""
        return members(self.setting(key))

    # Transactions and availability.

    @property
    def operative(self) -> bool:
        """Whether the connector is in service; set it to take the whole charge point out of service or back."""
        return self.availability.is_operative(CONNECTOR) and not self.installing

    @operative.setter
    def operative(self, value: bool) -> None:
        with self._lock:
            self.availability.change((STATION, EVSE, CONNECTOR) if value else (STATION,), value, in_use=False)

    @property
    def in_use(self) -> bool:
        """Whether a transaction runs, or has begun and got no id yet."""
        return self._reserved or self.transaction_id is not None

    def begin_transaction(self) -> bool:
        """Return whether a transaction may begin; then ChangeAvailability waits until `end_transaction`.

        None may begin once ChangeAvailability was Accepted for a connector (C16 §5.2; 2/201 G03).
        """
        with self._lock:
            self._reserved = self.operative
            return self._reserved

    def end_transaction(self) -> None:
        """Forget the transaction, and make the changes of availability that waited for its end."""
        with self._lock:
            self.transaction_id, self._reserved = None, False
            self.availability.apply_scheduled()

    def change_availability(self, parts: Sequence[Part], operative: bool) -> str:
        """Change parts now, or after the running transaction; return the status of ChangeAvailability."""
        with self._lock:
            return self.availability.change(parts, operative, in_use=self.in_use)

    # Authorization.

    def knows_as_accepted(self, key: Token) -> bool:
        """Return whether a token may charge without a question to the central system.

        The setting LocalPreAuthorize allows that to tokens of the list and the cache (C16 §9.1.13; 2/201 C12, C14).
        The list takes precedence (C16 §3.5.3; 2/201 C13.FR.01). All others have to be asked about.
        """
        if not self.flag("LocalPreAuthorize"):
            return False
        entry = self.local_list.get(key) if self.flag("LocalAuthListEnabled") else None
        if entry is None and self.flag("AuthorizationCacheEnabled"):
            entry = self.cache.get(key)
        return entry is not None and entry.accepted

    def learn(self, key: Token, info: Mapping[str, Any] | None) -> None:
        """Store what the central system says about a token, unless the list has it (C16 §3.5.3; 2/201 C10.FR.04-05)."""
        if info is not None and self.flag("AuthorizationCacheEnabled") and self.local_list.get(key) is None:
            self.cache.store(key, info)

    def clear_cache(self, payload: Any) -> Mapping[str, Any]:
        """Return the answer to ClearCache: without a cache it is Rejected (CE16 3.23; 2/201 C11.FR.04)."""
        if not self.flag("AuthorizationCacheEnabled"):
            return {"status": "Rejected"}
        self.cache.clear()
        return {"status": "Accepted"}
