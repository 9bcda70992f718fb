"""Threads that run things, and know no OCPP: the handler pool, the timer, stuck handlers."""
