"""Waiting for the ends of threads."""

from __future__ import annotations

import threading

from intruder import LingeringThread
from support import DEADLINE

from ocppsync.threads.joining import join_all, living


def test_only_threads_that_have_started_and_not_ended_live() -> None:
    go_on = threading.Event()
    ended, waiting, new = threading.Thread(), threading.Thread(target=go_on.wait), threading.Thread()
    ended.start()
    ended.join(DEADLINE)
    waiting.start()
    try:
        assert living([ended, waiting, new]) == [waiting]
    finally:
        go_on.set()
        waiting.join(DEADLINE)


def test_a_thread_at_its_last_line_is_waited_for() -> None:
    thread = LingeringThread()
    thread.start()
    assert thread.lingers.wait(DEADLINE)
    assert living([thread]) == [thread]
    assert join_all([thread], DEADLINE)
    assert not thread.is_alive()


def test_all_of_them_together_have_the_time_and_the_calling_one_does_not_count() -> None:
    go_on = threading.Event()
    threads = [threading.Thread(target=go_on.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    asked = [*threads, threading.current_thread()]
    assert not join_all(asked, 0.01)
    go_on.set()
    assert join_all(asked, DEADLINE)
    assert living(threads) == []
    assert join_all([], 0)
