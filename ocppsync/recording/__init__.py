"""The file of a journal: appends its lines, and reads them."""
