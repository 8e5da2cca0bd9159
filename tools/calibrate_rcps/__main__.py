"""Calibrate prediction sets so that they keep a promised risk (risk-controlling prediction sets).

Without a subcommand: outputs.npz of an encoder at several difficulty levels -> the lambda that keeps the promise.
"""

import sys

PROG = "calibrate_rcps"
EPILOG = """\
subcommands:
  apply           a saved calibration on new outputs.npz: edges and widths of the sets
  figures         risks, widths, residuals and intervals of a saved calibration, as pictures and csv
  endpoints       pictures of the ends of calibrated sets
  experiments     importance, ablation and stress test
  validate        check an outputs.npz
  make-synthetic  write outputs.npz files whose true risk is known
  simulate        how often each bound keeps its promise at your n, alpha, delta and number of coordinates

examples:
  calibrate_rcps --base_dir assets --exp_name super_resolution --resize_factors 1 16 32
  calibrate_rcps --outputs easy=easy.npz hard=hard.npz --dims all --levels_as each_together --alpha 0.1 0.2"""


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    from common.cli import run
    from tools.calibrate_rcps.commands import SUBCOMMANDS, run_subcommand

    words = list(sys.argv[1:] if words is None else words)
    if words and words[0] in SUBCOMMANDS:
        return run_subcommand(words[0], words[1:])
    from tools.calibrate_rcps.calibrate import calibrate_command, output_folder, show
    from tools.calibrate_rcps.options import CalibrateOptions

    return run(calibrate_command, CalibrateOptions, PROG, __doc__, EPILOG, words, place=output_folder, show=show)


if __name__ == "__main__":
    from common.cli import leave

    leave(cli)
