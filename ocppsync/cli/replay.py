"""``ocppsync replay``: sends the charge points' messages of a journal again, and prints which answers differ."""

from __future__ import annotations

import argparse
import sys

from ..errors import HandshakeError
from ..faults.printable import printable
from ..wire.tls import client_context
from .readable import error_text, quantity

__all__ = ["run_replay"]


def run_replay(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status: 1 if an answer differs, or nothing can be replayed."""
    # Here and not on top: `serve` needs neither, and the second takes long to import.
    from ..journal import read_journal
    from ..testing.replay import IGNORED, replay

    difference_count = message_count = 0
    try:
        context = None if options.ca is None else client_context(options.ca)
        sessions = [
            session
            for session in read_journal(options.journal, report=_report)
            if options.charge_point in (None, session.charge_point_id)
        ]
        if not sessions:
            # Not a success: a script would not notice a misspelt identity.
            scope = "" if options.charge_point is None else f" of {options.charge_point!r}"
            raise ValueError(f"{options.journal}: it has no messages{scope} to replay")
        for session in sessions:
            differences = replay(
                session,
                options.url,
                timeout=options.timeout,
                ignore=IGNORED | set(options.ignore),
                ssl_context=context,
            )
            difference_count += len(differences)
            message_count += len(session.entries)
            for difference in differences:
                print(printable(str(difference)))
    except (OSError, ValueError, HandshakeError) as error:
        print(f"ocppsync: {error_text(error)}", file=sys.stderr)
        return 1
    print(
        f"{quantity(len(sessions), 'connection')}, {quantity(message_count, 'message')}, "
        f"{quantity(difference_count, 'difference')}"
    )
    return 1 if difference_count else 0


def _report(text: str) -> None:
    print(f"ocppsync: {printable(text)}", file=sys.stderr)
