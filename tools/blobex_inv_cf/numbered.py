"""Numbered blobs of inverted images, so that people can choose: `blobex_inv_cf blobs`."""

from dataclasses import dataclass
from pathlib import Path

from common import console, flags
from common.options import REQUIRED, CommonOptions, option
from tools.blobex_inv_cf import findings

PROG = "blobex_inv_cf blobs"
DESCRIPTION = """\
Draws inverted images, their reconstructions and their blobs with the numbers that --target_blob takes, and writes where
each blob lies and how much of the picture it covers."""
EPILOG = """\
examples:
  blobex_inv_cf blobs out/cf/all_inversions.pt --output_dir out/blobs
  blobex_inv_cf blobs out/cf/metadata_0.pt --blobgan_weights blobgan_256x512.ckpt"""
OWNS = ("*.png", "blobs.csv")
LEAST_SIDE = 256  # of a drawn picture


@dataclass(kw_only=True)
class BlobsOptions(CommonOptions):
    """Flags of `blobex_inv_cf blobs`."""

    inversions: str = option(REQUIRED, "all_inversions.pt, or a metadata_<i>.pt", word=True, kind="how")
    blobgan_weights: str = option("checkpoints/blobgan_256x512.ckpt", "BlobGAN checkpoint", kind="how")
    output_dir: str = option("out/blobs", "output directory", kind="how")
    max_images: int = option(24, "use only the first N images", low=1)
    size_threshold: float = option(-3.0, "sizes below which a blob is not drawn or listed")
    live_weights: bool = option(False, "render with the live weights instead of the averaged ones")
    device: str = flags.device()


def main(options):
    """Run `blobex_inv_cf blobs`; results: images, blobs (listed)."""
    from common.blobs.metadata import check_widths, note_other_weights, read_inversions, widths_of
    from common.device import pick_device
    from common.files import file_hash
    from common.formats.checkpoints import weights_hash
    from common.job import Job
    from common.networks.blobgan.files import read_blobgan
    from common.networks.blobgan.layout import select, to

    device = pick_device(options.device)
    gan = read_blobgan(options.blobgan_weights, device, "raw" if options.live_weights else "ema",
                       "--live_weights")
    names, blobs = read_inversions(options.inversions)
    check_widths(widths_of(blobs), gan.config, options.inversions)
    note_other_weights(options.inversions, gan)
    count, folder = min(options.max_images, len(names)), Path(options.output_dir)
    names, blobs = names[:count], to(select(blobs, slice(0, count)), device)
    derived = {"contents of inversions": file_hash(options.inversions),
               "contents of blobgan_weights": weights_hash(gan)}
    job = Job(folder, PROG, options, derived=derived, inputs=[options.inversions, options.blobgan_weights], owns=OWNS,
              summary=findings.blobs)
    return job.run(lambda: draw(options, gan, names, blobs, folder),
                   lambda: (f"would draw the blobs of {count} images into {folder}", {"images": count}), device)


def draw(options, gan, names, blobs, folder):
    """Write a picture for each image and the table of blobs; return (results, files)."""
    import torch

    from common.files import write_png
    from common.formats.tables import write_table
    from common.images.pixels import to_uint8
    from common.images.suffixes import file_stems
    from common.networks.blobgan.layout import select
    from common.networks.blobgan.splat import blob_picture

    rows, files, config, stems = [], [], gan.config, file_stems(name.replace("/", "_") for name in names)
    scale = max(1, -(-LEAST_SIDE // config.resolution))
    with console.progress("images", len(names), unit="images") as advance:
        for number, name in enumerate(names):
            own = select(blobs, [number])
            with torch.no_grad():
                picture = to_uint8(gan.render(own), "dmd2")[0].repeat(scale, axis=0).repeat(scale, axis=1)
                shares = gan.generator.splat(own).pyramid[gan.generator.size][0].mean(dim=(1, 2)).tolist()
            drawn = blob_picture(own, scale * config.resolution, config.aspect_ratio, labels=True,
                                 threshold=options.size_threshold)[0].permute(1, 2, 0).numpy()
            path = folder / f"{stems[number]}.png"
            write_png(path, torch.cat([torch.from_numpy(picture), torch.from_numpy(drawn)], dim=1).numpy())
            files.append(path)
            for blob in range(gan.num_blobs):
                if float(own.sizes[0, blob + 1]) > options.size_threshold:
                    rows.append([name, blob, float(own.xs[0, blob]), float(own.ys[0, blob]),
                                 float(own.sizes[0, blob + 1]), shares[blob + 1]])
            advance(1)
    write_table(folder / "blobs.csv", ["image", "blob", "x", "y", "size", "share_of_picture"], rows)
    return {"images": len(names), "blobs": len(rows)}, [*files, folder / "blobs.csv"]


def cli(words):
    """Run the subcommand on the given words and return its exit status."""
    from common.cli import run

    return run(main, BlobsOptions, PROG, DESCRIPTION, EPILOG, words, "blobs", place=lambda options: options.output_dir)
