"""Names of the metrics."""

METRICS = ("fid", "fid_infinity", "kid", "is", "prdc", "mind")
