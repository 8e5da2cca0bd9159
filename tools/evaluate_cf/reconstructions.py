"""How well pictures are reconstructed: `evaluate_cf encoder`, by an encoder, and `evaluate_cf inversion`, by stored
blobs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common import console, flags, parallel
from common.errors import InputError
from common.numerals import counted
from common.options import REQUIRED, option
from tools.evaluate_cf import findings
from tools.evaluate_cf.options import SetOptions

PROG = "evaluate_cf"
ROWS = "images_results.json"


@dataclass(kw_only=True)
class QualityOptions(SetOptions):
    """Flags of both."""

    blobgan_weights: str = option("checkpoints/blobgan_256x512.ckpt", "BlobGAN checkpoint", kind="how")
    decision_model_weights: Optional[str] = option(None, "decision model whose decisions are compared", kind="how")
    dataset_path: str = option(REQUIRED, "folder of the images", kind="how")
    lpips_weights: Optional[str] = option(None, "torchvision's vgg16 file for LPIPS", kind="how")
    perceptual: Optional[str] = option(None, "classifier whose maps take LPIPS's place: a file of train_decision_model",
                                       kind="how")
    live_weights: bool = option(False, "render with the live weights instead of the averaged ones")
    batch_size: int = flags.batch_size(4, "-bs")
    device: str = flags.device()


@dataclass(kw_only=True)
class EncoderOptions(QualityOptions):
    """Flags of `evaluate_cf encoder`."""

    encoder_weights: str = option("checkpoints/encoder_256x512.pt", "encoder checkpoint", kind="how")
    output_dir: str = option("out/encoder_quality", "output directory", kind="how")
    max_images: Optional[int] = option(None, "use only the first N images (default: all)", low=1, kind="total")


@dataclass(kw_only=True)
class InversionOptions(QualityOptions):
    """Flags of `evaluate_cf inversion`."""

    inv_path: str = option(REQUIRED, "all_inversions.pt, or a metadata_<i>.pt", kind="how")
    output_dir: Optional[str] = option(None, "output directory (default: --inv_path without .pt, _evaluation)",
                                       kind="how")


def evaluate_encoder(options):
    """Measure an encoder's reconstructions; results: quality_images, l1, l2, lpips or perceptual, agreement_NAME,
    agreement, all_decisions_kept, and fid (or frechet) with fid_images."""
    from common.device import pick_device
    from common.networks.blobgan.encoder_files import read_encoder
    from tools.evaluate_cf.read import open_gan, open_images

    device = pick_device(options.device, parallel.local_rank())
    gan = open_gan(options.blobgan_weights, device, options.live_weights)
    gan.check_encodable(options.blobgan_weights)
    encoder = read_encoder(options.encoder_weights, gan, device)
    images = open_images(options.dataset_path, gan, "--dataset_path")
    count = min(len(images.images), options.max_images or len(images.images))
    names = [images.images.title(number) for number in range(count)]

    def reconstructions(rows, pictures):
        from common.blobs.quality import reconstruct

        return reconstruct(gan, encoder, pictures)

    return _job(options, "encoder", Path(options.output_dir), gan, images, names, options.encoder_weights,
                reconstructions, device)


def evaluate_inversion(options):
    """Measure what a BlobGAN renders of stored blobs; results as of evaluate_encoder. They are appended as text to
    `--inv_path` without .pt, with .txt; with --output_dir to a file of that name there."""
    from common.blobs.metadata import check_widths, note_other_weights, read_inversions, read_marks, widths_of
    from common.device import pick_device
    from common.networks.blobgan.layout import select, to
    from tools.evaluate_cf.read import note_changed, open_gan, open_images

    device = pick_device(options.device, parallel.local_rank())
    gan = open_gan(options.blobgan_weights, device, options.live_weights)
    names, blobs = read_inversions(options.inv_path)
    check_widths(widths_of(blobs), gan.config, options.inv_path)
    note_other_weights(options.inv_path, gan)
    _check_finite(names, blobs, options.inv_path)
    images = open_images(options.dataset_path, gan, "--dataset_path")
    images.numbers(names)
    base = Path(str(options.inv_path).removesuffix(".pt"))
    folder = Path(options.output_dir or f"{base}_evaluation")
    text = Path(f"{base}.txt")
    if options.output_dir:
        text = folder / text.name
    marks = read_marks(options.inv_path)

    def reconstructions(rows, pictures):
        own = [names[row] for row in rows]
        note_changed(marks, own, images.pixels(own))
        return gan.render(to(select(blobs, rows), device))

    return _job(options, "inversion", folder, gan, images, names, options.inv_path, reconstructions, device, text)


def _check_finite(names, blobs, where):
    """Raise InputError naming the first image whose blobs are not finite: every mean would be none."""
    for part, tensor in blobs._asdict().items():
        finite = tensor.flatten(1).isfinite().all(dim=1).tolist()
        if not all(finite):
            raise InputError(f"'{part}' of {names[finite.index(False)]} holds NaN or infinite values", where=where,
                             do="Invert the image again, or take it out")


def _job(options, name, folder, gan, images, names, source, reconstructions, device, text=None):
    """Run the Job of a subcommand. source: the file of the encoder or the blobs.  text: file to append to."""
    from common.blobs.perceptual import open_perceptual
    from common.blobs.quality import Quality
    from common.device import set_precision
    from common.files import append_text, file_hash
    from common.formats.checkpoints import weights_hash
    from common.job import Job
    from common.networks.decision import open_decision_model
    from tools.evaluate_cf.realism import Sets

    set_precision("fp32")
    perceptual = open_perceptual(options.lpips_weights, options.perceptual, device)
    model = None if options.decision_model_weights is None else open_decision_model(options.decision_model_weights,
                                                                                    device)
    derived = {"gan": weights_hash(gan), "source": file_hash(source)}
    derived |= {f"contents of {flag}": file_hash(getattr(options, flag)) for flag in
                ("decision_model_weights", "lpips_weights", "perceptual", "weights") if getattr(options, flag)}
    sets = Sets(options, gan, device)
    derived |= sets.derived()
    job = Job(folder, f"{PROG} {name}", options, derived=derived, owns=(ROWS,), show=show,
              summary=findings.reconstructions,
              content={"images": images.images.fingerprint()})

    if job.answer() is None:
        sets.open()

    def work():
        if not parallel.is_main():
            return {}, []
        images.images.note_changes()
        results = _measure(options, images, names, reconstructions, Quality(perceptual, model), sets, folder, device)
        if text is not None:
            append_text(text, "".join(f"{key}: {value}\n" for key, value in results.items()),
                        again=job.resumes)
        return results, [folder / ROWS]

    line = f"would compare {counted(len(names), 'image')} with their reconstructions into {folder}"
    return job.run(work, lambda: (line, {"quality_images": len(names)}), device)


def _measure(options, images, names, reconstructions, quality, sets, folder, device):
    """Return the results, and write each picture's numbers."""
    import numpy as np
    import torch

    from common.datasets.prepared import to_network
    from common.features.statistics import Statistics
    from tools.evaluate_cf.realism import features_of

    features, size = ([], []), options.batch_size
    with console.progress("images", len(names), unit="images") as advance, torch.no_grad():
        for first in range(0, len(names), size):
            rows = list(range(first, min(first + size, len(names))))
            own = [names[row] for row in rows]
            pictures = to_network(images.pixels(own)).to(device)
            shown = reconstructions(rows, pictures)
            quality.add(own, pictures, shown)
            for part, each in zip(features, (pictures, shown) if sets.space is not None else ()):
                part.append(features_of(sets.space, each, size))
            advance(len(rows))
    quality.write(folder / ROWS)
    results = quality.summary()
    if sets.space is not None and len(names) > 1:
        real, made = (Statistics(features=np.concatenate(part)) for part in features)
        results |= {**sets.distances(real, made), "fid_images": len(names)}
    return results


def show(results):
    """Print the results as a table."""
    console.show_table("Reconstructions", ["measure", "value"],
                       [[name, f"{value:.4g}" if isinstance(value, float) else str(value)]
                        for name, value in results.items()])


ENCODER_EPILOG = """\
examples:
  evaluate_cf encoder --encoder_weights encoder_finetuning_l1_lpips/best.pt --dataset_path val \\
      --decision_model_weights decision_densenet.tar --lpips_weights vgg16-397923af.pth"""
INVERSION_EPILOG = """\
examples:
  evaluate_cf inversion --inv_path out/cf/all_inversions.pt --dataset_path val \\
      --decision_model_weights decision_densenet.tar --lpips_weights vgg16-397923af.pth --extractor inception"""


def encoder_cli(words):
    """Run `evaluate_cf encoder` on the given words and return its exit status."""
    from common.cli import run

    return run(evaluate_encoder, EncoderOptions, f"{PROG} encoder", "Reconstructions by an encoder: LPIPS, L1, L2, "
               "decisions kept, FID.", ENCODER_EPILOG, words, "encoder", place=lambda options: options.output_dir)


def inversion_cli(words):
    """Run `evaluate_cf inversion` on the given words and return its exit status."""
    from common.cli import run

    def place(options):
        return options.output_dir or f"{str(options.inv_path).removesuffix('.pt')}_evaluation"

    return run(evaluate_inversion, InversionOptions, f"{PROG} inversion", "Reconstructions by inverted blobs: LPIPS, "
               "L1, L2, decisions kept, FID.", INVERSION_EPILOG, words, "inversion", place=place)
