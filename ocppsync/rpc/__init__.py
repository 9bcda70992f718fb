"""One OCPP-J connection: frames, CALLs both ways, handlers."""
