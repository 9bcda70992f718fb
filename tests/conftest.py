"""Settings for every test, and the threads that many need."""

from __future__ import annotations

import gc
import importlib.util
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import settings
from secrecy import Secrecy, deals_in_secrets

from ocppsync.threads.timer import Timer

# The last release of the package `ocpp` for Python 3.10 has no OCPP 2.1.
collect_ignore = [] if importlib.util.find_spec("ocpp.v21") else ["conformance/test_foreign_21.py"]

# Examples are judged by what they find: a busy machine may take long over one.
settings.register_profile("full", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)
settings.load_profile("full")

# In the background of a shell script Ctrl-C is ignored, and every program started there would ignore it as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def what_a_file_left_open_fails_in_that_file() -> Iterator[None]:
    """Collect the garbage after each file: what is unclosed in it fails the test at hand, which may be any."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def no_secret_is_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that deals in passwords if one of them, or a hash, is in the log."""
    if not deals_in_secrets(request.module):
        yield
        return
    secrecy = Secrecy()
    monkeypatch, caplog = request.getfixturevalue("monkeypatch"), request.getfixturevalue("caplog")
    with secrecy.watching(monkeypatch, caplog.handler):
        yield
    secrecy.check()


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a function on a thread of its own and returns its future."""
    with ThreadPoolExecutor(32) as pool:
        yield pool.submit


@pytest.fixture
def timer() -> Iterator[Timer]:
    """Keeps appointments until the test ends."""
    timer = Timer("test-timer")
    yield timer
    timer.close()
