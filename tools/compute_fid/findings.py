"""What the page of a folder of runs says first of the distances: see common.summary."""

from pathlib import Path

from common.numerals import counted
from common.summary import Quantity, figures, summary

SCORES = (
    Quantity("fid", "FID", better="lower"), Quantity("frechet_distance", "Fréchet distance", better="lower"),
    Quantity("fid_infinity", "FID at infinitely many images", better="lower"), Quantity("sfid", "sFID", better="lower"),
    Quantity("kid", "KID", better="lower"), Quantity("inception_score", "Inception score", better="higher"),
    *(Quantity(name, name, better="higher") for name in ("precision", "recall", "density", "coverage")),
    Quantity("mind", "MIND", better="lower"), Quantity("vendi", "Vendi score", better="higher"))
PAIRS = (Quantity("psnr", "PSNR", "dB", "higher"), Quantity("ssim", "SSIM", better="higher"),
         Quantity("lpips", "LPIPS", better="lower"))


def score(name):
    """Return what summarises `compute_fid clean` and `fast`. name: of the reference, or None."""
    def summarise(results):
        reference = name or results.get("reference")
        against = f" to {Path(reference).name}" if reference else ""
        return summary(f"Distance of images{against} in {results['features']}", [("", figures(results, SCORES))],
                       "measurement")

    return summarise


def pairs(results):
    """Summarise `compute_fid pairs`."""
    title = f"{counted(results['num_pairs'], 'pair')} of images, compared one to one"
    return summary(title, [("", figures(results, PAIRS))], "measurement")
