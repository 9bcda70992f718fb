"""Replays a journal against a central system and finds differences; for tests see `ocppsync.testing`."""

from .testing.replay import Difference, assert_replays, replay

__all__ = ["Difference", "assert_replays", "replay"]
