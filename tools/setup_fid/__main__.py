"""Make and keep the statistics of a data set that FID and KID compare with.

Subcommands list, show and compare look at what is stored; without one, --action decides.
"""

import sys
from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import CommonOptions, option, run

PROG = "setup_fid"
DESCRIPTION = """\
Statistics (mean and covariance of Inception features) of a folder, zip, array or named data set, in clean-fid's files.
They lie in --stats_dir, else in GENPROBE_STATS, else in ./fid_stats, never inside an installed package."""
EPILOG = """\
subcommands:
  list         what is stored, and where
  show         one file: images, extractor, how it was made
  compare      the Frechet distance between two stored ones

examples:
  setup_fid --action compute_new --path images --name bdd_rect_256 --resolution 256 512 --n_imgs 50_000 --shuffle
  setup_fid list
  setup_fid --action download --path fid_stats.tar.gz    (a file that you fetched; nothing is downloaded)"""


@dataclass(kw_only=True)
class SetupOptions(CommonOptions):
    """Flags of `setup_fid`."""

    action: str = option("download",
                         "compute_new: make statistics; download: say where published ones are, check fetched ones",
                         choices=["download", "compute_new"], kind="how")
    path: str = option("",
                       "folder (nested too), zip, .npz or .npy of images, or a known data set; download: the fetched "
                       "file",
                       kind="how")
    n_imgs: int = option(-1, "number of images, the first in path order; -1 for all", low=-1)
    shuffle: bool = option(False, "shuffle the paths (seed 0) before the first n_imgs are taken")
    name: Optional[str] = option(None, "name of the statistics, needed for compute_new; its case does not matter")
    batch_size: int = flags.batch_size(32, "-bs")
    num_workers: int = flags.num_workers(8, "threads that read and resize images", "-j", low=1)
    resolution: List[int] = option([],
                                   "first bring images to this square, or height and width: resized to cover, cut to "
                                   "the centre; 0 leaves them; without it 256, and 0 with --extractor small", nargs="+",
                                   short="-r")
    device: str = flags.device()
    stats_dir: Optional[str] = option(None, "folder of statistics (GENPROBE_STATS, else fid_stats)", kind="how")
    mode: str = option("clean", "clean-fid's preprocessing", choices=["clean", "legacy_pytorch", "legacy_tensorflow"])
    extractor: str = option("inception", "network that makes the features", choices=["inception", "small", "dinov2"])
    weights: Optional[str] = option(None, "weights of the network, where they are not in the usual places", kind="how")
    antialias: bool = option(True, "antialias in the resize to --resolution; torchvision before 0.17 did not")
    kid: bool = option(False, "also keep the features, for KID, precision and recall")
    split: str = option("train", "split of a known data set", choices=["train", "test"])
    data_dir: Optional[str] = flags.data_dir()


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
    if words and words[0] in ("list", "show", "compare"):
        from tools.setup_fid.stored import run_stored

        return run_stored(words[0], words[1:])
    from tools.setup_fid.compute import record_folder, show

    return run(main, SetupOptions, PROG, DESCRIPTION, EPILOG, words, place=record_folder, show=show)


if __name__ == "__main__":
    sys.exit(cli())
