"""Run a quantile encoder on images and write its values beside the truth: outputs.npz."""

from dataclasses import dataclass
from typing import Optional

from common import flags
from common.cli import leave, run
from common.options import REQUIRED, CommonOptions, option

PROG = "generate_outputs_npz"
DESCRIPTION = """\
Degrades the images of a folder by a resize factor as in the encoder's training, encodes them, and writes lower, point
and upper values of every style coordinate beside the truth of latents_*.npz. Images that generate_ffhq has degraded
already are not degraded again. A killed run resumes."""
EPILOG = """\
examples:
  generate_outputs_npz --resize_factor 16 --image_dir assets/data/generated/1x --output_path out/16/outputs.npz
  generate_outputs_npz --base_dir assets --exp_name super_resolution --resize_factor 1 --image_dir photographs \\
      --output_path out/photographs/outputs.npz"""


@dataclass(kw_only=True)
class OutputsOptions(CommonOptions):
    """Flags of `generate_outputs_npz`."""

    resize_factor: int = option(REQUIRED, "factor by which the images are degraded; 1 is a slight blur", low=1)
    image_dir: str = option(REQUIRED, "folder of images, flat or nested: img_*.png with latents_*.npz", kind="how")
    output_path: str = option(REQUIRED, "file to write, such as .../16/outputs.npz", kind="how")
    base_dir: str = option("assets", "folder of experiments", kind="how")
    exp_name: str = option("super_resolution", "experiment: a folder of --base_dir", kind="how")
    model_name: str = option("models/superres_alpha_0.1.pt", "encoder, relative to the experiment", kind="how")
    encoder_size: Optional[int] = option(None, "side of the encoder's images in pixels (default: the checkpoint's own, "
                                         "else 256)", low=1, high=flags.LARGEST_SIDE)
    allow_missing_truth: bool = option(False, "write NaN for images without latents where others have them")
    batch_size: int = flags.batch_size(32, help="images per forward pass on a GPU; a CPU takes few at a time")
    device: str = flags.device()


def main(options):
    """Run `generate_outputs_npz`; results: see tools/generate_outputs_npz/encode.py."""
    from tools.generate_outputs_npz.encode import encode

    return encode(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    from tools.generate_outputs_npz.place import record_folder, show

    return run(main, OutputsOptions, PROG, DESCRIPTION, EPILOG, words, place=record_folder, show=show)


if __name__ == "__main__":
    leave(cli)
