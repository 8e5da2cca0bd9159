"""Compute and store the reference statistics of a data set for FID and KID.

The subcommands list, show and compare inspect stored statistics; without one, --action decides.
"""

import sys
from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import leave, run
from common.options import CommonOptions, option

PROG = "setup_fid"
DESCRIPTION = """\
Computes statistics (mean and covariance of Inception features) of a folder, zip, array or named data set in the format
of clean-fid. They are stored in --stats_dir, else GENPROBE_STATS, else ./fid_stats, never in an installed package."""
EPILOG = """\
subcommands:
  list         stored statistics and their folders
  show         one file: images, extractor, preprocessing
  compare      Frechet distance between two of them
  cache        cached features; --cache_gb 5 prunes them to 5 GB

examples:
  setup_fid --action compute_new --path images --name bdd_rect_256 --resolution 256 512 --fit squash
  setup_fid list
  setup_fid --action download --path fid_stats.tar.gz  # a file you downloaded; the tool downloads nothing"""


@dataclass(kw_only=True)
class SetupOptions(CommonOptions):
    """Flags of `setup_fid`."""

    action: str = option("download",
                         "compute_new: compute statistics; download: say where to get published ones, check yours",
                         choices=["download", "compute_new"], kind="how")
    path: str = option("",
                       "folder (nested too), zip, .npz or .npy of images, or a named data set; download: the "
                       "downloaded file", kind="how")
    n_imgs: int = option(-1, "number of images, the first in path order; -1 for all", low=-1)
    shuffle: bool = option(False, "shuffle the paths (seed 0) before taking the first n_imgs")
    name: Optional[str] = option(None, "name of the statistics, required for compute_new; case-insensitive")
    batch_size: int = flags.batch_size(32, "-bs")
    num_workers: int = flags.num_workers(8, "threads that read and resize images", "-j")
    resolution: List[int] = option([],
                                   "resize and centre-crop images to this side, or height and width, first; 0 for no "
                                   "resizing (default: 256, with --extractor small 0)", nargs="+", short="-r")
    fit: str = option("cover", "how images come to --resolution: cover it and are cropped in the middle, or squash: "
                      "whole and by a Lanczos filter, as a BlobGAN of another aspect than 1 is trained (a square: "
                      "cropped)", choices=["cover", "squash"])
    device: str = flags.device()
    stats_dir: Optional[str] = option(None, "folder of statistics (GENPROBE_STATS, else fid_stats)", kind="how")
    mode: str = option("clean", "clean-fid's preprocessing", choices=["clean", "legacy_pytorch", "legacy_tensorflow"])
    extractor: str = flags.extractor()
    layer: int = flags.layer()
    weights: Optional[str] = option(None, "weights of the extractor, if not in one of the usual places", kind="how")
    antialias: bool = option(True, "antialiased resize to --resolution; torchvision before 0.17 did not antialias")
    kid: bool = option(False, "also store the features, for KID, precision and recall")
    sfid: bool = option(False, "also store mean and covariance of the spatial features, for sFID, as mu_s and sigma_s")
    split: str = option("train", "split of a named data set", choices=["train", "test"])
    data_dir: Optional[str] = flags.data_dir()
    cache_gb: Optional[float] = flags.cache_gb()


def main(options):
    """Run `setup_fid --action`; results: see the functions."""
    if options.action == "download":
        from tools.setup_fid.download import check_fetched

        return check_fetched(options)
    from tools.setup_fid.compute import compute_new

    return compute_new(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    words = list(sys.argv[1:] if words is None else words)
    if words and words[0] in ("list", "show", "compare", "cache"):
        from tools.setup_fid.stored import run_stored

        return run_stored(words[0], words[1:])
    from tools.setup_fid.compute import record_folder, show

    return run(main, SetupOptions, PROG, DESCRIPTION, EPILOG, words, place=record_folder, show=show)


if __name__ == "__main__":
    leave(cli)
