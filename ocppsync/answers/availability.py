"""Which parts of a charge point are in service, and the changes that wait for the end of a transaction."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CONNECTOR", "EVSE", "STATION", "Availability", "Part"]

Part = tuple[int, ...]
"""The ids that lead to a part: none for the whole charge point, then that of the EVSE, then that of the connector."""

STATION: Part = ()
EVSE: Part = (1,)
CONNECTOR: Part = (1, 1)


class Availability:
    """The parts that ChangeAvailability has taken out of service (C16 §5.2; 2/201 G03, G04).

    A part is in service if it and all that it belongs to are: when the charge point goes back into service, its parts
    return to the state that they had (2/201 G03.FR.06-07, G04.FR.07-08). It outlives resets (C16 §5.2; 2/201
    B01.FR.07, B11.FR.02). Not thread-safe.
    """

    def __init__(self) -> None:
        self._out: set[Part] = set()
        self._scheduled: dict[Part, bool] = {}

    def __repr__(self) -> str:
        return f"<Availability out={sorted(self._out)} scheduled={self._scheduled}>"

    def is_operative(self, part: Part) -> bool:
        """Return whether a part is in service."""
        return not any(part[:length] in self._out for length in range(len(part) + 1))

    def change(self, parts: Sequence[Part], operative: bool, *, in_use: bool) -> str:
        """Change some parts, and return the status of ChangeAvailability: Accepted or Scheduled.

        A change of what is already so is Accepted, and takes back what was scheduled. Any other waits during a
        transaction.
        """
        unchanged = all((part not in self._out) is operative for part in parts)
        if in_use and not unchanged:
            self._scheduled.update(dict.fromkeys(parts, operative))
            return "Scheduled"
        for part in parts:
            self._scheduled.pop(part, None)
            self._set(part, operative)
        return "Accepted"

    def apply_scheduled(self) -> None:
        """Make the changes that waited for the end of the transaction."""
        for part, operative in self._scheduled.items():
            self._set(part, operative)
        self._scheduled.clear()

    def _set(self, part: Part, operative: bool) -> None:
        if operative:
            self._out.discard(part)
        else:
            self._out.add(part)
