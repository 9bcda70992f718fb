"""The pages of the site; what is below /ocpp never comes here."""

from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("chargers/<path:identity>/reset", views.reset, name="reset"),
]
