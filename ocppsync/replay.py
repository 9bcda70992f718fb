"""Plays a journal against a central system again, and tells what differs; see `ocppsync.testing` for use in tests."""

from .testing.replay import Difference, assert_replays, replay

__all__ = ["Difference", "assert_replays", "replay"]
