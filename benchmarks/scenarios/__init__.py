"""The scenarios: each module has a ``NAME``, and a ``run(plan)`` that yields figures and failures."""
