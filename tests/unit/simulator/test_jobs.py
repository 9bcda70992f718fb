"""Jobs end when they are cancelled, whatever they wait for."""

from __future__ import annotations

import threading
import time

from support import DEADLINE, wait_until

from ocppsync.simulator.jobs import Job


def test_a_job_runs_on_a_thread_of_its_name() -> None:
    names: list[str] = []
    job = Job("test-job", lambda job: names.append(threading.current_thread().name))
    assert repr(job) == "<Job test-job not running>"
    job.start()
    job.join(DEADLINE)
    assert names == ["test-job"]
    assert not job.alive


def test_a_cancelled_job_stops_waiting() -> None:
    results: list[bool] = []
    job = Job("test-job", lambda job: results.append(job.wait(float("inf"))))
    job.start()
    began = time.monotonic()
    job.cancel()
    job.join(DEADLINE)
    assert results == [True]
    assert job.cancelled
    assert time.monotonic() - began < 5


def test_a_job_that_is_not_cancelled_waits_to_the_end() -> None:
    results: list[bool] = []
    job = Job("test-job", lambda job: results.extend([job.wait(0.001), job.wait(-1)]))
    job.start()
    job.join(DEADLINE)
    assert results == [False, False]


def test_a_cancelled_job_is_woken_from_what_blocks_it() -> None:
    wake = threading.Event()

    def run(job: Job) -> None:
        with job.on_cancel(wake.set):
            assert wake.wait(DEADLINE)

    job = Job("test-job", run)
    job.start()
    wait_until(lambda: job._wake is not None)
    assert repr(job) == "<Job test-job running>"
    job.cancel()
    job.join(DEADLINE)
    assert not job.alive
    assert job._wake is None


def test_a_job_that_was_cancelled_before_it_blocks_is_woken_at_once() -> None:
    job = Job("test-job", lambda job: None)
    job.cancel()
    woken: list[str] = []
    with job.on_cancel(lambda: woken.append("woken")):
        assert woken == ["woken"]
    job.cancel()
    assert woken == ["woken"]


def test_a_job_does_not_wait_for_itself() -> None:
    job = Job("test-job", lambda job: job.join())
    job.start()
    job.join(DEADLINE)
    assert not job.alive
