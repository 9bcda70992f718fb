"""The pool, the timer and the connection in memory, where a second thread comes into what a first does."""

from __future__ import annotations

import threading

import pytest
from interleaved import Made, MeetingLock, watch_field
from support import DEADLINE, Recorder

from ocppsync.testing.memory import memory_pair
from ocppsync.threads.pool import HandlerPool
from ocppsync.threads.timer import Timer
from ocppsync.wire.transport import TransportClosedError

HOUR = 3600.0


# The pool.


def pool_with_lock(size: int) -> tuple[HandlerPool, MeetingLock]:
    pool, lock = HandlerPool(size, "test-pool"), MeetingLock()
    pool._lock = lock  # type: ignore[assignment]
    pool._freed = threading.Condition(lock)  # type: ignore[arg-type]
    return pool, lock


def test_two_tasks_at_once_do_not_count_on_the_same_free_thread() -> None:
    pool, lock = pool_with_lock(2)
    met, barrier, made = Recorder(), threading.Barrier(2), Made()

    def meet() -> None:
        met(barrier.wait(DEADLINE))

    pool.submit(lambda: None)
    assert pool.wait_idle(DEADLINE)
    watch_field(pool, "_free", after_get=made.let_in(lock, pool.submit, meet))
    pool.submit(meet)
    made.result()
    met.wait(2)
    assert pool.close(DEADLINE)


def test_a_task_taken_while_the_pool_closes_leaves_no_thread() -> None:
    pool, lock = pool_with_lock(2)
    done, made = Recorder(), Made()
    watch_field(pool, "_closed", after_get=made.let_in(lock, pool.close, DEADLINE))
    assert pool.submit(done, "taken")
    assert made.result() is True
    assert done.items == ["taken"], "close returns when all that was taken is done"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-pool")]


def test_a_thread_that_becomes_free_wakes_who_waits_for_that() -> None:
    pool, lock = pool_with_lock(1)
    go_on, waits, idle = threading.Event(), threading.Event(), Recorder()
    pool.submit(go_on.wait, DEADLINE)
    lock.before_release = waits.set
    waiting = threading.Thread(target=lambda: idle(pool.wait_idle(3 * DEADLINE)))
    waiting.start()
    assert waits.wait(DEADLINE)
    go_on.set()
    assert idle.wait() == [True]
    waiting.join()
    assert pool.close(DEADLINE)


def test_a_pool_is_stuck_while_all_its_threads_run_a_task() -> None:
    pool, begun, go_on = HandlerPool(2, "test-pool"), Recorder(), threading.Semaphore(0)

    def run() -> None:
        begun()
        assert go_on.acquire(timeout=DEADLINE)

    for count in (1, 2):
        assert pool.stuck_since is None
        pool.submit(run)
        begun.wait(count)
    assert pool.stuck_since is not None
    go_on.release(2)
    assert pool.wait_idle(DEADLINE)
    assert pool.stuck_since is None
    assert pool.close(DEADLINE)


# The timer.


def test_an_appointment_made_while_the_cancelled_ones_are_dropped_is_kept(timer: Timer) -> None:
    lock, made = MeetingLock(), Made()
    timer._changed = threading.Condition(lock)  # type: ignore[arg-type]
    watch_field(timer, "_heap", before_set=made.let_in(lock, timer.call_later, HOUR, pytest.fail))
    while not made:
        timer.call_later(HOUR, pytest.fail).cancel()
    made.result()
    assert "appointments=1>" in repr(timer)


def test_a_cancelled_appointment_counts_once_and_until_it_is_dropped(timer: Timer) -> None:
    """Each time that enough of them have come together, all appointments are gone through."""
    done = Recorder()
    ran = timer.call_later(0, done)
    done.wait()
    kept = timer.call_later(HOUR, pytest.fail)
    timer.call_later(0, done)
    done.wait(2)
    for _ in range(1000):
        ran.cancel()
    assert timer._cancelled == 0
    for _ in range(1000):
        kept.cancel()
    assert timer._cancelled == 1
    for _ in range(1000):
        timer.call_later(HOUR, pytest.fail).cancel()
    assert timer._cancelled <= 300


# The connection in memory.


def test_two_that_receive_at_once_get_a_message_each() -> None:
    server, client = memory_pair("CP1")
    lock, made = MeetingLock(), Made()
    server._changed = threading.Condition(lock)  # type: ignore[arg-type]
    client.send_nowait("one")
    watch_field(server, "_aborted", after_get=made.let_in(lock, server.receive_now))
    assert server.receive_now() == "one"
    assert made.result() is None
    assert not server.ended


@pytest.mark.parametrize("receive", ["receive", "receive_now"])
@pytest.mark.parametrize("came", [[], ["too late"]])
def test_after_an_abort_comes_the_end_whatever_has_come(receive: str, came: list[str]) -> None:
    server, client = memory_pair("CP1")
    for text in came:
        client.send_nowait(text)
    server.abort()
    assert getattr(server, receive)() is None
    assert server.ended
    assert server.close_code == 1006


def test_a_reader_that_has_not_noticed_an_abort_is_not_idle() -> None:
    server, _ = memory_pair("CP1")

    def read() -> None:
        server.receive()
        server.release()

    reader = threading.Thread(target=read)
    reader.start()
    assert server.wait_idle(DEADLINE)
    with server._changed:
        server.abort()
        assert not server.wait_idle(0)
    assert server.wait_idle(DEADLINE)
    assert server.released
    reader.join(DEADLINE)


def test_a_reader_that_deals_with_a_message_is_not_idle() -> None:
    server, client = memory_pair("CP1")
    deals, go_on = threading.Event(), threading.Event()

    def read() -> None:
        while server.receive() is not None:
            deals.set()
            assert go_on.wait(DEADLINE)
        server.release()

    reader = threading.Thread(target=read)
    reader.start()
    client.send_nowait("one")
    assert deals.wait(DEADLINE)
    assert not server.wait_idle(0)
    go_on.set()
    assert server.wait_idle(DEADLINE)
    client.abort()
    reader.join(DEADLINE)


def test_a_reader_that_goes_wakes_who_waits_for_it() -> None:
    server, _ = memory_pair("CP1")
    lock, waits, idle = MeetingLock(), threading.Event(), Recorder()
    server._changed = threading.Condition(lock)  # type: ignore[arg-type]
    lock.before_release = waits.set
    waiting = threading.Thread(target=lambda: idle(server.wait_idle(3 * DEADLINE)))
    waiting.start()
    assert waits.wait(DEADLINE)
    server.release()
    assert idle.wait() == [True]
    waiting.join()


def test_a_close_in_memory_while_theirs_is_taken_is_not_sent() -> None:
    server, client = memory_pair("CP1")
    lock, made, closing = MeetingLock(), Made(), Recorder()
    server._changed = threading.Condition(lock)  # type: ignore[arg-type]
    server.on_closing = lambda: closing("closing")
    client.close(3000)
    watch_field(server, "_closing", after_get=made.let_in(lock, server.close, 1001))
    assert server.receive_now() is None
    made.result()
    assert server.close_code == 3000
    assert closing.items == []
    assert "unread=1" in repr(client)


def test_of_two_closes_in_memory_one_is_sent_and_reported() -> None:
    server, client = memory_pair("CP1")
    lock, made, closing = MeetingLock(), Made(), Recorder()
    server._changed = threading.Condition(lock)  # type: ignore[arg-type]
    server.on_closing = lambda: closing("closing")
    watch_field(server, "_closing", after_get=made.let_in(lock, server.close, 1008))
    server.close(1001)
    made.result()
    assert server.close_code == 1001
    assert closing.items == ["closing"]
    assert "unread=1" in repr(client)


def test_nothing_is_sent_in_memory_behind_the_answer_to_a_close() -> None:
    server, client = memory_pair("CP1")
    client.close(3000)
    assert server.receive_now() is None
    with pytest.raises(TransportClosedError) as caught:
        server.send_nowait("too late")
    assert not caught.value.written


def test_an_abort_in_memory_is_passed_on_once_and_no_close_follows_it() -> None:
    server, client = memory_pair("CP1")
    for _ in range(2):
        server.abort()
    assert "unread=1" in repr(client)
    server.close(1001)
    assert server.receive() is None
    assert server.close_code == 1006
