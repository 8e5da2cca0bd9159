"""Generate images with a DMD2 or EDM network and store them with the outputs of its inner layers."""

import sys
from dataclasses import dataclass
from typing import Optional

from common import flags
from common.activations.layout import GENERATED, Tree
from common.activations.options import ActivationOptions
from common.cli import REQUIRED, option, run

PROG = "generate_dataset"
DESCRIPTION = """\
Images of a class-conditional network of EDM or DMD2 (one step, few steps, EDM's Heun sampler, or stochastic multistep)
with its activations, in the tree that extract_real_imagenet fills with real ones. For a comparison give both commands
the same --input_mode, --conditioning_sigma and --label_mode: then real and generated pictures are fed to the network
alike."""
EPILOG = """\
examples:
  generate_dataset --model imagenet --checkpoint_path dmd2/pytorch_model.bin --num_samples 10000
  generate_dataset --model imagenet --checkpoint_path out/train_edm/network.safetensors --method heun --num_steps 10 \\
      --sigma_max 20 --sigma_min 0.01 --input_mode clean --conditioning_sigma 0.2 --label_mode none"""


@dataclass(kw_only=True)
class GenerateOptions(ActivationOptions):
    """Flags of `generate_dataset`."""

    model: str = option(REQUIRED, "kind of model; only imagenet is implemented", choices=["imagenet", "sdxl", "sdv1.5"])
    num_samples: int = option(1000, "number of images in all, existing ones included", kind="total", low=1)
    samples_per_class: Optional[int] = option(None, "so many of each class in turn, beginning again after the last "
                                              "(default: random classes)", low=1)
    target_classes: Optional[str] = option(None, "only these classes, separated by commas: numbers, synsets or names")
    conditioning_sigma: float = option(80.0,
                                       "noise level at which activations are taken; --input_mode sampling starts there")
    method: str = option("onestep", "sampler: onestep, fewstep for distilled networks, heun, multistep for others",
                         choices=["onestep", "fewstep", "heun", "multistep"])
    num_steps: int = option(18, "noise levels of fewstep, heun and multistep")
    sigma_max: Optional[float] = option(None,
                                        "noise level at the start (default: 80; --conditioning_sigma under "
                                        "--input_mode sampling)")
    sigma_min: float = option(0.002, "last noise level above 0")
    rho: float = option(7.0, "rho of the Karras schedule")
    S_churn: float = option(0.0, "EDM's stochasticity (heun): 40 for ImageNet-64 with 256 steps")
    S_min: float = option(0.0, "lowest level with churn")
    S_max: float = option(float("inf"), "highest level with churn")
    S_noise: float = option(1.0, "noise factor during churn")
    stochastic: bool = option(True, "fewstep: new noise between the levels")
    eta: float = option(1.0, "stochasticity of multistep: 0 the ODE, 1 the reverse SDE, above 1 more",
                        low=0)
    guidance: float = option(1.0, "1 for none; only for networks trained with label dropout")
    input_mode: Optional[str] = option(None,
                                       "activations of the sampling pass itself (default for onestep), or of the "
                                       "finished picture fed as in extract_real_imagenet (default: scale)",
                                       choices=["sampling", "scale", "noise", "clean"])
    images_from: Optional[str] = option(None,
                                        "--output_dir of a run with the same sampling: its pictures are fed, not "
                                        "sampled again", kind="how")
    label_mode: str = option("own", "labels of the pass that gives activations: each image's, none, or uniform ones",
                             choices=["own", "none", "uniform"])
    format: str = option("npz", "npz batches (published), or one .npy a layer (fast)", choices=["npz", "npy"])
    images: bool = option(True, "store the pictures")
    seed: int = flags.seed("classes and noise; image i depends on it and i alone", 10)
    precision: str = flags.precision([*flags.PRECISIONS, "fp16"])
    mixed_precision: Optional[str] = option(None, "the multi-GPU original's name for --precision",
                                            choices=["no", "fp16", "bf16"])
    num_workers: int = flags.num_workers(2, "threads that write", low=1)
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
    sys.exit(cli())
