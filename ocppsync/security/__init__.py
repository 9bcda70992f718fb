"""Security profiles and passwords."""
