"""The schema bundles, one JSON file for each version of OCPP; installed as the package ``ocppsync.schemas``."""
