"""How gunicorn serves the site: ``gunicorn -c examples/django_site/gunicorn.conf.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

wsgi_app = "chargers.wsgi"
chdir = str(Path(__file__).resolve().parent)
bind = "127.0.0.1:8000"
workers = 1  # the chargers are connected to one process
worker_class = "gthread"
threads = 200  # one for each charger, and some for the views
graceful_timeout = 15  # more than the seconds that a charger has to answer


def post_worker_init(worker: Any) -> None:
    """Say goodbye to the chargers as soon as the worker is to stop."""
    from chargers.central import cs
    from ocppsync.wsgi import close_with_worker

    close_with_worker(cs, worker)
