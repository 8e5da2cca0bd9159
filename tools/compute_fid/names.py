"""Names of the metrics."""

METRICS = ("fid", "fid_infinity", "sfid", "kid", "is", "prdc", "mind", "vendi")
PAIR_METRICS = ("psnr", "ssim", "lpips")
