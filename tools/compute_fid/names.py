"""Names of the metrics."""

METRICS = ("fid", "kid", "is", "prdc", "mind")
