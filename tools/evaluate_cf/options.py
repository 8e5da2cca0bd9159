"""Flags of evaluate_cf."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.options import REQUIRED, CommonOptions, option


@dataclass(kw_only=True)
class SetOptions(CommonOptions):
    """Flags of distances between sets of pictures."""

    extractor: str = option("none", "features for FID and sFID: inception, small, or none",
                            choices=["none", "inception", "small"])
    mode: str = option("clean", "how Inception's images are resized, see compute_fid",
                       choices=["clean", "legacy_pytorch", "legacy_tensorflow", "fast"])
    weights: Optional[str] = option(None, "Inception weights", kind="how")
    reference: Optional[str] = option(None, "file of statistics that the pictures are compared with, too", kind="how")
    dataset_name: Optional[str] = option(None, "name of statistics made by setup_fid, instead of --reference",
                                         kind="how")
    stats_dir: Optional[str] = option(None, "folder of the named statistics (GENPROBE_STATS, else fid_stats)",
                                      kind="how")
    any_stats: bool = option(False, "accept statistics of images that were resized in another way than the BlobGAN's",
                             kind="how")


@dataclass(kw_only=True)
class EvaluateOptions(SetOptions):
    """Flags of `evaluate_cf`."""

    folder: str = option(REQUIRED, "folder with metadata_<i>.pt", word=True, kind="how")
    output_dir: Optional[str] = option(None, "output directory (default: FOLDER/evaluation)", kind="how")
    blobgan_weights: Optional[str] = option(None, "BlobGAN checkpoint (default: the one of the folder's record)",
                                            kind="how")
    decision_model_weights: Optional[str] = option(None, "model that was explained (default: the record's)",
                                                   kind="how")
    dataset_path: Optional[str] = option(None, "folder of the images (default: the record's)", kind="how")
    lpips_weights: Optional[str] = option(None, "torchvision's vgg16 file for LPIPS (default: the record's)",
                                          kind="how")
    perceptual: Optional[str] = option(None, "classifier whose maps take LPIPS's place (default: the record's)",
                                       kind="how")
    oracle: List[str] = option([], "independent decision models of the same attributes", nargs="+", kind="how")
    truth: Optional[str] = option(None, "table of known decisions: image, attribute (empty for the image itself), a "
                                  "column of 0 and 1 for each name, and any measures", kind="how")
    labels: Optional[str] = option(None, "table of the data's attributes, a column for each name, for the correlation "
                                   "difference", kind="how")
    rule: str = option("correct", "which flips count: correct, or as the published script counts them",
                       choices=["correct", "published"])
    sparse: bool = option(True, "measure the sparse versions; --nosparse: those before, where they are stored")
    similarity_model: Optional[str] = option(None, "program of pictures (TorchScript or torch.export) whose outputs "
                                             "before and after are compared by their cosine", kind="how")
    similarity_range: str = option("signed", "pictures that it takes: signed (-1 to 1), unit (0 to 1) or imagenet",
                                   choices=["signed", "unit", "imagenet"])
    similarity_size: List[int] = option([], "height and width that it takes (default: its own, else the BlobGAN's)",
                                        nargs=2, low=1, high=flags.LARGEST_SIDE)
    similarity_output: Optional[str] = option(None, "key or number of its output, of several")
    cout: bool = option(False, "compute COUT: 51 forward passes of the model for each pair")
    redundancy: bool = option(False, "count the changed blobs that alone can go back: a forward pass for each")
    partial: bool = option(False, "accept a folder in which batches are missing")
    save_images: bool = option(False, "write the counterfactuals as images/att_<c>/NAME.png")
    page_pairs: int = option(400, "pairs with pictures on the page cf.html, at most", low=0)
    seed: int = flags.seed("halvings of sFID")
    batch_size: int = flags.batch_size(8, "-bs")
    device: str = flags.device()
