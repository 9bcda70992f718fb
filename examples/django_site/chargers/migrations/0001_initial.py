"""Made by ``makemigrations``."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Make the table of the chargers."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[migrations.CreateModel]] = [
        migrations.CreateModel(
            name="Charger",
            fields=[
                ("identity", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("vendor", models.CharField(default="", max_length=50)),
                ("model", models.CharField(default="", max_length=50)),
                ("status", models.CharField(default="", max_length=50)),
                ("seen", models.DateTimeField(auto_now=True)),
            ],
        ),
    ]
