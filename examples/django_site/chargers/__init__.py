"""A site that lists chargers and resets them. Run it with ``manage.py`` and ``gunicorn.conf.py``."""
