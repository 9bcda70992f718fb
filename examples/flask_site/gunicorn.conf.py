"""Settings to run the site on gunicorn: ``gunicorn -c examples/flask_site/gunicorn.conf.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

wsgi_app = "app:app"
chdir = str(Path(__file__).resolve().parent)
bind = "127.0.0.1:8000"
workers = 1  # all chargers must connect to the same process
worker_class = "gthread"
threads = 200  # one for each charger and each open page, and some for the views
graceful_timeout = 15  # longer than TIMEOUT, the time that a charger has to answer


def post_worker_init(worker: Any) -> None:
    """Close the connections to the chargers when the worker stops."""
    # Imported here, in the worker: at the top, it would run in the master process, before the fork.
    from app import central
    from ocppsync.wsgi import close_with_worker

    close_with_worker(central, worker)
