"""Bytes to text messages and back: TCP, TLS, HTTP upgrade, WebSocket. Knows no OCPP."""
