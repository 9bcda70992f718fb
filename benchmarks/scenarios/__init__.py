"""What is measured: a module for each scenario, with a ``NAME`` and a function ``run(plan)``."""
