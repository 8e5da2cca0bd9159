"""Generate images with a DMD2 or EDM network and store them with the activations of its layers."""

from dataclasses import dataclass
from typing import Optional

from common import flags
from common.activations.layout import GENERATED, Tree
from common.activations.options import ActivationOptions
from common.cli import leave, run
from common.options import REQUIRED, option

PROG = "generate_dataset"
DESCRIPTION = """\
Samples images from a class-conditional EDM or DMD2 network (one step, few steps, EDM's Heun sampler, or stochastic
multistep) and stores them with its activations, in the same tree as extract_real_imagenet. To compare the two, give
both commands the same --input_mode, --conditioning_sigma and --label_mode: real and generated images are then fed to
the network in the same way."""
EPILOG = """\
examples:
  generate_dataset --model imagenet --checkpoint_path dmd2/pytorch_model.bin --num_samples 10000
  generate_dataset --model imagenet --checkpoint_path out/train_edm/network.safetensors --method heun --num_steps 10 \\
      --sigma_max 20 --sigma_min 0.01 --input_mode clean --conditioning_sigma 0.2 --label_mode none"""


@dataclass(kw_only=True)
class GenerateOptions(ActivationOptions):
    """Flags of `generate_dataset`."""

    model: str = option(REQUIRED, "kind of model; only imagenet is implemented", choices=["imagenet", "sdxl", "sdv1.5"])
    num_samples: int = option(1000, "total number of images, such as 10000 or 1e4, existing ones included",
                              kind="total", low=1, type=flags.whole_number, metavar="N")
    samples_per_class: Optional[int] = option(None, "images per class, class by class, cycling after the last "
                                              "(default: random classes)", low=1)
    target_classes: Optional[str] = option(None, "only these classes, comma-separated: numbers, synsets or names")
    conditioning_sigma: float = option(80.0,
                                       "noise level of the recorded pass; with --input_mode sampling its start")
    method: str = option("onestep", "sampler: onestep or fewstep for distilled networks, heun or multistep for others",
                         choices=["onestep", "fewstep", "heun", "multistep"])
    num_steps: int = option(18, "noise levels of fewstep, heun and multistep")
    sigma_max: Optional[float] = option(None,
                                        "initial noise level (default: 80; with --input_mode sampling, "
                                        "--conditioning_sigma)")
    sigma_min: float = option(0.002, "lowest noise level above 0")
    rho: float = option(7.0, "rho of the Karras schedule")
    S_churn: float = option(0.0, "heun: EDM's stochasticity; 40 for ImageNet-64 with 256 steps")
    S_min: float = option(0.0, "heun: lowest noise level with churn")
    S_max: float = option(float("inf"), "heun: highest noise level with churn")
    S_noise: float = option(1.0, "heun: noise factor during churn")
    stochastic: bool = option(True, "fewstep: fresh noise between steps")
    eta: float = option(1.0, "multistep: stochasticity eta; 0 the ODE, 1 the reverse SDE, above 1 more", low=0)
    guidance: float = option(1.0, "guidance scale, 1 for none; needs a network trained with label dropout")
    to_uint8: Optional[str] = option(None, "from the network's values in [-1, 1] to bytes, clipped and truncated: edm "
                                     "(127.5 x + 128) or dmd2 (127.5 (x + 1), half a level lower) (default: the "
                                     "sampler's own: edm for heun, else dmd2)", choices=["edm", "dmd2"])
    input_mode: Optional[str] = option(None,
                                       "pass whose activations are stored: sampling itself (default for onestep), or "
                                       "the finished image fed as in extract_real_imagenet (default: scale)",
                                       choices=["sampling", "scale", "noise", "clean"])
    noise: str = option("unit", "noise of image i: unit (from the seed and i), edm (EDM's seed --seed + i, which draws "
                        "the class too), or dmd2 (the i-th part of one stream, as DMD2 draws batches)",
                        choices=["unit", "edm", "dmd2"])
    images_from: Optional[str] = option(None,
                                        "--output_dir of a run with the same sampling: feed its images instead of "
                                        "sampling again", kind="how")
    label_mode: str = option("own", "labels of the recorded pass: each image's own, none, or uniform",
                             choices=["own", "none", "uniform"])
    format: str = option("npz", "npz batches (published), or npy: one activations.npy (fast)", choices=["npz", "npy"])
    images: bool = option(True, "store the images")
    seed: int = flags.seed("classes and noise; image i draws from (seed, i)", 10)
    precision: str = flags.precision([*flags.PRECISIONS, "fp16"])
    mixed_precision: Optional[str] = option(None, "alias of --precision in the multi-GPU original",
                                            choices=["no", "fp16", "bf16"])
    num_workers: int = flags.num_workers(2, "writer threads", low=1)
    prompt_file: Optional[str] = option(None, "for text-to-image models, which are not implemented", kind="how")
    num_denoising_steps: int = option(4, "for text-to-image models, which are not implemented", kind="how")


def main(options):
    """Run `generate_dataset`; results: see tools/generate_dataset/generate.py."""
    from tools.generate_dataset.generate import generate

    return generate(options)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, GenerateOptions, PROG, DESCRIPTION, EPILOG, words,
               place=lambda options: Tree(options.output_dir, GENERATED).metadata)


if __name__ == "__main__":
    leave(cli)
