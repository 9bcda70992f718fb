"""The server side of a central system: accepting, admitting, limiting and serving connections."""
