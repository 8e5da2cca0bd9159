"""Where cached results are stored."""

import os
from pathlib import Path


def cache_dir():
    """Return the cache folder: GENPROBE_CACHE, default .genprobe_cache below the current folder."""
    return Path(os.environ.get("GENPROBE_CACHE") or ".genprobe_cache")
