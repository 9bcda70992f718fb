"""The pages of the site. Paths below /ocpp never reach Django."""

from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("chargers/<path:identity>/reset", views.reset, name="reset"),
]
