"""The WSGI application: the central system below /ocpp, and Django for all other paths."""

from __future__ import annotations

import os
from typing import Any

from django.core.wsgi import get_wsgi_application

from ocppsync.wsgi import Mount

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chargers.settings")
django_application: Any = get_wsgi_application()

# Imported after Django has loaded, because it uses models.
from .central import cs  # noqa: E402

application = Mount(django_application, cs, "/ocpp")
