"""Which small change of which objects turns a model's decision: images inverted into blobs, counterfactuals searched.

Without a subcommand: images -> metadata_<i>.pt, snapshot_<i>.jpg, all_inversions.pt, pairs.csv.
"""

import sys

PROG = "blobex_inv_cf"
EPILOG = """\
subcommands:
  blobs  draws inverted images with the numbers of their blobs
  sweep  searches with several learning rates, steps and weights of the proximity, and recommends one

examples:
  blobex_inv_cf --dataset_path val --output_dir out/cf --lpips_weights vgg16-397923af.pth
  blobex_inv_cf --dataset_path val --output_dir out/cf --perceptual decision.tar --target Forward=0 --num_diverse 3
  blobex_inv_cf --noreal_images --num_imgs 64 --output_dir out/generated"""


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    from common.cli import run
    from tools.blobex_inv_cf.options import ExplainOptions
    from tools.blobex_inv_cf.run import explain, show

    words = list(sys.argv[1:] if words is None else words)
    if words[:1] in (["blobs"], ["sweep"]):
        from importlib import import_module

        module = {"blobs": "numbered", "sweep": "sweep"}[words[0]]
        return import_module(f"tools.blobex_inv_cf.{module}").cli(words[1:])
    return run(explain, ExplainOptions, PROG, __doc__, EPILOG, words, place=lambda options: options.output_dir,
               show=show)


if __name__ == "__main__":
    from common.cli import leave

    leave(cli)
