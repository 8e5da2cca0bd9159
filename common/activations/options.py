"""The flags that extraction and generation of activations share."""

from dataclasses import dataclass
from typing import Optional

from common import flags
from common.options import CommonOptions, option


@dataclass(kw_only=True)
class ActivationOptions(CommonOptions):
    """The network, its layers, and the storage of their activations."""

    checkpoint_path: Optional[str] = option(None, "the network: .pkl, .pth, .pt, .bin, .safetensors, or a folder of "
                                            "accelerate (default: the one imagenet_*.pth in checkpoints/ or "
                                            "../checkpoints/)", kind="how")
    model_flags: Optional[str] = option(None, "guided-diffusion's flags of a network of its kind, as one text: "
                                        "'--image_size 64 ...' (default: those of the published network of that "
                                        "shape)")
    output_dir: str = option("data", "output directory", kind="how")
    batch_size: int = flags.batch_size(64, help="images per forward pass, and samples per activation file")
    layers: str = option("encoder_bottleneck,midblock", "layers, separated by commas")
    pool: str = option("none", "store full feature maps, their means, or means and maxima",
                       choices=["none", "mean", "meanmax"])
    dtype: str = option("float32", "dtype of the stored activations", choices=["float32", "float16"])
    compress: bool = option(False, "deflate npz files, as the original does: a tenth smaller, many times slower")
    samples_per_file: Optional[int] = option(None, "samples per activation file (default: the first run's "
                                             "--batch_size)", low=1)
    device: str = flags.device()
    weights: str = option("ema", "weights to use if the file has both", choices=["ema", "raw"])
    part: str = option("generator", "network of a DMD2 guidance file", choices=["generator", "real_unet", "fake_unet"])
    compile: bool = flags.compile()
