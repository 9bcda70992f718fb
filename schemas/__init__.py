"""The schema bundles, one JSON file per OCPP version; installed as the package ``ocppsync.schemas``."""
