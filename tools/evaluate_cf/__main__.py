"""Measure counterfactuals: valid, near, clean, realistic, different; nothing is searched again.

FOLDER is one of blobex_inv_cf, or holds metadata_<i>.pt of the original.
"""

import sys

PROG = "evaluate_cf"
EPILOG = """\
subcommands:
  encoder    how well an encoder reconstructs images
  inversion  how well inverted blobs do
  compare    two evaluations side by side on the same pairs

examples:
  evaluate_cf out/cf --perceptual decision.tar --oracle other.tar
  evaluate_cf out/cf --rule published --lpips_weights vgg16-397923af.pth
  evaluate_cf old_folder --blobgan_weights blobgan_256x512.ckpt --decision_model_weights decision_densenet.tar \\
      --dataset_path val"""
SUBCOMMANDS = {"encoder": ("reconstructions", "encoder_cli"), "inversion": ("reconstructions", "inversion_cli"),
               "compare": ("compare", "cli")}


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    from common.cli import run
    from tools.evaluate_cf.options import EvaluateOptions
    from tools.evaluate_cf.run import evaluate, show

    words = list(sys.argv[1:] if words is None else words)
    if words[:1] and words[0] in SUBCOMMANDS:
        from importlib import import_module

        module, function = SUBCOMMANDS[words[0]]
        return getattr(import_module(f"tools.evaluate_cf.{module}"), function)(words[1:])
    return run(evaluate, EvaluateOptions, PROG, __doc__, EPILOG, words,
               place=lambda options: options.output_dir or f"{options.folder}/evaluation", show=show)


if __name__ == "__main__":
    from common.cli import leave

    leave(cli)
