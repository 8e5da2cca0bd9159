"""Names and folders of the layouts that users have on disk, in one place."""

import os
from pathlib import Path


def cache_dir():
    """Return the folder of answers that only print (GENPROBE_CACHE, default .genprobe_cache)."""
    return Path(os.environ.get("GENPROBE_CACHE") or ".genprobe_cache")
