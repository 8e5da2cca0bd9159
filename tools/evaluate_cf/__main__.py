"""Measure counterfactuals: valid, near, clean, realistic, different; nothing is searched again.

OUT is a folder of blobex_inv_cf, or metadata_<i>.pt of the original.
"""

import sys

PROG = "evaluate_cf"
EPILOG = """\
examples:
  evaluate_cf out/cf --perceptual decision.tar --oracle other.tar
  evaluate_cf out/cf --rule published --lpips_weights vgg16-397923af.pth
  evaluate_cf old_folder --blobgan_weights blobgan_256x512.ckpt --decision_model_weights decision_densenet.tar \\
      --dataset_path val"""


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    from common.cli import run
    from tools.evaluate_cf.options import EvaluateOptions
    from tools.evaluate_cf.run import evaluate, show

    words = list(sys.argv[1:] if words is None else words)
    return run(evaluate, EvaluateOptions, PROG, __doc__, EPILOG, words,
               place=lambda options: options.output_dir or f"{options.folder}/evaluation", show=show)


if __name__ == "__main__":
    from common.cli import leave

    leave(cli)
