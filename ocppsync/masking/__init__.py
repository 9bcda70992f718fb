"""Secrets in OCPP messages: which fields hold them, and their masking for people and files."""
