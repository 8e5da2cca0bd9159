"""Flags of blobex_inv_cf, the fields and constants of the original's Config under their names, and presets."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.options import CommonOptions, option
from tools.blobex_inv_cf.presets import PRESETS

TENSORS = ("xs", "ys", "sizes", "covs", "features", "spatial_style")


@dataclass(kw_only=True)
class SearchFlags(CommonOptions):
    """Flags that shape inversions and searches."""

    preset: str = option("rect", "values of the flags that are not given (python -m tools presets)", kind="how",
                         choices=list(PRESETS))
    # Inversion
    init: Optional[str] = option(None, "start of an inversion: the encoder's layout, the mean layout, or the better "
                                 "of both", choices=["encoder", "mean", "best"])
    n_iters_inv: Optional[int] = option(None, "steps of an inversion", low=1)
    lr_inv: Optional[float] = option(None, "learning rate of an inversion, twice that for sizes", above=0)
    halve_inv_every: Optional[int] = option(None, "steps after which that rate is halved", low=1)
    plateau: Optional[int] = option(None, "steps without progress after which an image is done; 0: never", low=0)
    coarse: Optional[int] = option(None, "first steps that compare features at half the resolution", low=0)
    lambda_inv_lpips: Optional[float] = option(None, "weight of the perceptual distance", low=0)
    lambda_inv_l2: Optional[float] = option(None, "weight of the mean square difference of pixels", low=0)
    lambda_inv_decision_fm: Optional[float] = option(None, "weight of the explained model's features", low=0)
    lambda_inv_latent_prox: Optional[float] = option(None, "weight of the distance from the start", low=0)
    keep: Optional[str] = option(None, "blobs of an inversion: the best that were seen, or the last",
                                 choices=["best", "last"])
    # Search
    learning_rate_cf: Optional[float] = option(None, "learning rate of the search", above=0)
    lr_ratio: List[str] = option([], "factors of that rate, such as xs=0.125 sizes=1 (default: 1 for sizes, 1/8 for "
                                 "the others)", nargs="+", metavar="TENSOR=X")
    lambda_prox_cf: Optional[float] = option(None, "weight of the distance from the inverted blobs", low=0)
    lambda_prox: List[str] = option([], "weights of the tensors in that distance", nargs="+", metavar="TENSOR=X")
    n_iters_cf: Optional[int] = option(None, "steps of a search at most", low=1)
    early_stop: Optional[str] = option(None, "on: a pair leaves as soon as its decision has flipped for good; off: all "
                                       "steps, and the blobs after the last", choices=["on", "off"])
    margin: Optional[float] = option(None, "signed logit at which a decision has flipped for good (3 with "
                                     "--num_diverse)", low=0)
    patience: Optional[int] = option(None, "evaluations in a row above the margin", low=1)
    bounds: Optional[str] = option(None, "keep positions on the canvas and sizes among those that the network makes",
                         choices=["on", "off"])
    target_features: List[str] = option([], "tensors that may change", nargs="+", choices=list(TENSORS))
    target_attributes: List[str] = option([], "objectives, by name or number (default: all)", nargs="+")
    target: List[str] = option([], "decisions to reach, such as Forward=0 Stop=1, class=5 or runner-up (default: the "
                               "opposite ones; of many classes the runner-up)", nargs="+", metavar="NAME=VALUE")
    joint: bool = option(False, "reach all of --target at once, in one counterfactual")
    search_anyway: bool = option(False, "also search where a decision already is as --target wants it")
    target_blob: List[int] = option([], "numbers of the blobs that may change, 0 to K - 1 (default: all, and the "
                                    "background)", nargs="+", low=0)
    target_region: List[float] = option([], "x0 y0 x1 y1, shares of the canvas: blobs that lie there may change",
                                        nargs=4, low=0, high=1)
    target_classes: List[str] = option([], "blobs that lie on these classes of --segmentation_weights may change, such "
                                       "as road car", nargs="+")
    search_on: str = option("reconstruction", "picture that the model decides on: the blobs' own, or the real one plus "
                            "the change", choices=["reconstruction", "real"])
    sparse: Optional[str] = option(None, "afterwards blobs go back to where they were as long as the flip stays: "
                                   "whole ones, their single tensors too, or off (off with --num_diverse)",
                                   choices=["blobs", "tensors", "off"])
    sparse_margin: Optional[float] = option(None, "signed logit that has to remain", low=0)
    num_diverse: int = option(1, "different counterfactuals of each pair", low=1)
    gate: str = option("on", "each of several changes blobs of its own; off for the widest spread",
                       choices=["on", "off"])
    diversity: str = option("images", "how several are kept apart: by their images, or restarts alone",
                            choices=["images", "restarts"])


@dataclass(kw_only=True)
class ExplainOptions(SearchFlags):
    """Flags of `blobex_inv_cf`."""

    blobgan_weights: str = option("checkpoints/blobgan_256x512.ckpt", "BlobGAN checkpoint", kind="how")
    encoder_weights: str = option("checkpoints/encoder_256x512.pt", "encoder checkpoint", kind="how")
    decision_model_weights: str = option("checkpoints/decision_densenet.tar", "model that is explained", kind="how")
    objective: List[str] = option([], "what is explained, such as attribute:2, class:5, share:road@.2,.5,.8,1, "
                                  "confidence:car or count:car (default: all attributes or classes)", nargs="+")
    threshold: float = option(0.5, "share, confidence or count that an objective is compared with", above=0)
    range: str = option("signed", "pictures that a program takes: signed (-1 to 1), unit (0 to 1) or imagenet",
                        choices=["signed", "unit", "imagenet"])
    size: List[int] = option([], "height and width that a program takes (default: the BlobGAN's)", nargs=2, low=1,
                             high=flags.LARGEST_SIDE)
    output: Optional[str] = option(None, "key or number of the output of a program with several")
    class_names: List[str] = option([], "names of the classes of programs, in order", nargs="+")
    segmentation_weights: Optional[str] = option(None, "segmentation model of --target_classes", kind="how")
    segmentation_range: str = option("signed", "pictures that it takes, as --range",
                                     choices=["signed", "unit", "imagenet"])
    lpips_weights: Optional[str] = option(None, "torchvision's vgg16 file for LPIPS", kind="how")
    perceptual: Optional[str] = option(None, "classifier whose maps take LPIPS's place: a file of train_decision_model",
                                       kind="how")
    dataset_path: Optional[str] = option(None, "folder of images to explain", kind="how")
    output_dir: str = option("out/blobex_inv_cf", "output directory", kind="how")
    bs: int = option(3, "images of a batch: a unit of work, and pairs in flight at a time", low=1)
    num_imgs: int = option(256, "number of generated images (--noreal_images)", low=1,
                           high=flags.MOST_IMAGES, kind="total")
    max_images: Optional[int] = option(None, "use only the first N images (default: all)", low=1, kind="total")
    real_images: bool = option(True, "explain images of --dataset_path; --noreal_images: generated ones")
    truncation: float = option(0.3, "truncation of generated images: 0 none, 1 the mean", low=0, high=1)
    inversion_only: bool = option(False, "stop after the inversion")
    load_inversion: bool = option(False, "read --inversions_path instead of inverting")
    inversions_path: Optional[str] = option(None, "all_inversions.pt or a metadata_<i>.pt", kind="how")
    live_weights: bool = option(False, "render with the live weights instead of the averaged ones")
    precision: str = flags.precision()
    compile: bool = option(False, "compile the generator with torch.compile (worth it on a GPU)", kind="how")
    seed: int = flags.seed("generated images and diverse starts")
    device: str = flags.device()
