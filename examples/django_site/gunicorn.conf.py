"""Settings to run the site on gunicorn: ``gunicorn -c examples/django_site/gunicorn.conf.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

wsgi_app = "chargers.wsgi"
chdir = str(Path(__file__).resolve().parent)
bind = "127.0.0.1:8000"
workers = 1  # all chargers must connect to the same process
worker_class = "gthread"
threads = 200  # one for each charger, and some for the views
graceful_timeout = 15  # longer than the timeout of send_request, which a view waits for a charger


def post_worker_init(worker: Any) -> None:
    """Close the connections to the chargers when the worker stops."""
    from chargers.central import cs
    from ocppsync.wsgi import close_with_worker

    close_with_worker(cs, worker)
