"""Depth and colour: files of tifffile, imagecodecs and Pillow, within one level in the extractor and each reader.

peer_files.npz is made by tests/peers/image_files.py. What a file shows is what went in, or what the peer reads.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.datasets.dlas.options import create_dataset
from common.errors import InputError
from common.images.decode import decode
from common.images.opencv import decode_rgb
from common.images.photos import SkippedPhoto, decode_photo
from common.images.pil_transforms import open_image
from tests.tools.extract_subimages.photos import call

ARCHIVE = np.load(Path(__file__).with_name("peer_files.npz"))
TABLE = json.loads(ARCHIVE["table"].tobytes())
ENDINGS = {"png": ".png", "jpeg": ".jpg", "tiff": ".tif", "webp": ".webp", "avif": ".avif", "bmp": ".bmp"}
READ = [name for name, shown in TABLE.items() if shown]
FEW = ["png grey 1 tRNS", "png interlaced rgb 16 tRNS", "png palette 4 tRNS", "jpeg stored YCCK",
       "jpeg grey -1 baseline", "tiff rgba 8 tiles", "tiff cmyk 16 lzw", "tiff white is zero 16 big",
       "tiff turned 6 16", "webp rgba False 1",
       "avif 4:0:0 limited", "avif 420 10", "avif turned 5", "bmp 555", "jpeg turned 8"]  # of each reader


def file_of(name):
    return ARCHIVE[name].tobytes()


def shown_in(name):
    return ARCHIVE[TABLE[name]]


def write(folder, names):
    """Write files of these names; returns the folder."""
    folder.mkdir()
    for name in names:
        ending = ENDINGS[name.split()[0]]
        (folder / f"{name.replace(' ', '_').replace(':', '')}{ending}").write_bytes(file_of(name))
    return folder


def levels(pixels):
    """Return pixels of uint8 or uint16 in 0..255."""
    return pixels * (255 / np.iinfo(pixels.dtype).max)


@pytest.mark.parametrize("name", TABLE)
def test_show_3_photos_of_every_depth_and_colour_are_as_the_peers_have_them(name):
    if TABLE[name] is None:
        with pytest.raises(SkippedPhoto) as refused:
            decode_photo(file_of(name))
        assert refused.value.detail
        with pytest.raises(InputError, match=r"not a readable image \(.+\)"):
            decode_rgb(file_of(name), name, photo=True)
        return
    pixels = decode_photo(file_of(name)).pixels[..., ::-1]
    assert pixels.dtype == np.uint8
    assert pixels.shape == shown_in(name).shape
    assert np.abs(pixels - shown_in(name)).max() <= 1.01
    assert np.abs(levels(decode_rgb(file_of(name), name, photo=True)) - shown_in(name)).max() <= 1.01


@pytest.mark.parametrize("name", TABLE)
def test_show_3_readers_by_pillow_are_as_the_peers_or_refuse_by_name(name):
    limit = 1.01 if "avif 420 1" not in name else 4  # Pillow's own rounding of more than 8 bits
    readers = [lambda: np.asarray(open_image(io.BytesIO(file_of(name)), "RGB", name, photo=True))]
    if "turned" not in name:  # as it is stored
        readers.append(lambda: decode(file_of(name), name))
    for read in readers:
        try:
            pixels = read()
        except InputError as error:
            refusal = str(error)
        else:
            refusal = None
        if refusal is not None:
            assert refusal.startswith(f"{name}: not a readable image (")
            assert "turned" not in name or "16" in name
            continue
        if TABLE[name] is not None:
            assert pixels.shape == shown_in(name).shape
            assert np.abs(pixels.astype(float) - shown_in(name)).max() <= limit
        else:
            assert name in ("tiff lab 8", "tiff webp", "tiff png")  # Pillow's own answer


def test_show_3_extracted_images_are_as_the_peers_have_them(tmp_path):
    """Through the command: every file gives its picture, or a row of skipped.csv that says why not."""
    folder = write(tmp_path / "in", TABLE)
    ended = call("--mode", "single", "--input_folder", folder, "--save_folder", tmp_path / "out", "--crop_sz", "20",
                 "--step", "20", "--thres_sz", "20", "--resize_final_img", "1", "--min_size", "0", "--format", "png",
                 "--png_level", "0", "--n_thread", "0", "--quiet")
    assert ended.status == 0, ended.err
    skipped = [row.split(",", 1) for row in (tmp_path / "out/skipped.csv").read_text().splitlines()[1:]]
    assert len(skipped) == len(TABLE) - len(READ)
    for name, reason in skipped:
        assert reason.startswith("pixels of another kind,") or name == "bmp_32_strange_masks.bmp", (name, reason)
    for name in READ:
        stem = name.replace(" ", "_").replace(":", "")
        tile, = (tmp_path / "out").glob(f"{stem}{'' if name[0] == 'j' else '.*'}_l00000_s001.png")
        found = np.asarray(Image.open(tile).convert("RGB")).astype(float)
        assert np.abs(found - shown_in(name)[:20, :20]).max() <= 1.01, name


@pytest.mark.parametrize("mode", ["imagefolder", "fullimage", "stylegan2", "torch_dataset"])
def test_show_3_items_of_photos_are_as_the_peers_have_them(mode, tmp_path):
    names = sorted(FEW) if mode != "torch_dataset" else [name for name in sorted(FEW) if "turned" not in name]
    folder = write(tmp_path / "in", names)
    options = {"imagefolder": {"paths": [str(folder)], "scale": 1, "force_square": False, "disable_flip": True,
                               "skip_lq": True},
               "fullimage": {"dataroot_GT": str(folder), "scale": 1, "phase": "val"},
               "stylegan2": {"path": str(folder), "target_size": 22, "aug_prob": 0},
               "torch_dataset": {"dataset": "imagefolder", "kwargs": {"root": str(tmp_path)}, "image_size": 22}}[mode]
    dataset = create_dataset({"mode": mode, **options})
    assert len(dataset) == len(names)
    for item in (dataset[index] for index in range(len(dataset))):
        stem = Path(str(item.get("HQ_path") or item["GT_path"])).stem
        name = next(name for name in names if name.replace(" ", "_").replace(":", "") == stem)
        shown, pixels = shown_in(name) / 255, item["hq"].numpy().transpose(1, 2, 0)
        if mode in ("stylegan2", "torch_dataset"):
            top, left = (shown.shape[0] - 22) // 2, (shown.shape[1] - 22) // 2
            shown = shown[top : top + 22, left : left + 22]
        if mode == "torch_dataset":
            pixels = pixels * (0.229, 0.224, 0.225) + (0.485, 0.456, 0.406)
            mirrored = np.abs(pixels[:, ::-1] - shown).max() < np.abs(pixels - shown).max()
            pixels = pixels[:, ::-1] if mirrored else pixels
        assert pixels.shape == shown.shape
        assert np.abs(pixels - shown).max() <= (4.1 if name == "avif 420 10" and mode[0] in "st" else 1.01) / 255, name
