"""A site that lists chargers and resets them; see ``manage.py`` and ``gunicorn.conf.py``."""
