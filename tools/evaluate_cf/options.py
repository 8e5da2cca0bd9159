"""Flags of evaluate_cf."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.options import REQUIRED, CommonOptions, option


@dataclass(kw_only=True)
class EvaluateOptions(CommonOptions):
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
    extractor: str = option("none", "features for FID and sFID: inception, small, or none",
                            choices=["none", "inception", "small"])
    mode: str = option("clean", "how Inception's images are resized, see compute_fid",
                       choices=["clean", "legacy_pytorch", "legacy_tensorflow", "fast"])
    weights: Optional[str] = option(None, "Inception weights", kind="how")
    cout: bool = option(False, "compute COUT: 51 forward passes of the model for each pair")
    redundancy: bool = option(False, "count the changed blobs that alone can go back: a forward pass for each")
    partial: bool = option(False, "accept a folder in which batches are missing")
    save_images: bool = option(False, "write the counterfactuals as images/att_<c>/NAME.png")
    page_pairs: int = option(400, "pairs with pictures on the page cf.html, at most", low=0)
    seed: int = flags.seed("halvings of sFID")
    batch_size: int = flags.batch_size(8, "-bs")
    device: str = flags.device()
