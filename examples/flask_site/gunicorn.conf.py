"""How gunicorn serves the site: ``gunicorn -c examples/flask_site/gunicorn.conf.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

wsgi_app = "app:app"
chdir = str(Path(__file__).resolve().parent)
bind = "127.0.0.1:8000"
workers = 1  # the chargers are connected to one process
worker_class = "gthread"
threads = 200  # one for each charger and each page that is open, and some for the rest
graceful_timeout = 15  # more than the seconds that a charger has to answer


def post_worker_init(worker: Any) -> None:
    """Say goodbye to the chargers as soon as the worker is to stop."""
    # Not above: that would be before the fork, in the process that serves nobody.
    from app import central
    from ocppsync.wsgi import close_with_worker

    close_with_worker(central, worker)
