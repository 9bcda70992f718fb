"""What is measured: each module has a ``NAME``, and a ``run(plan)`` that yields what it finds."""
