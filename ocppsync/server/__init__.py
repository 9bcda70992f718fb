"""The central system's door: listen, admit, limit, register, serve."""
