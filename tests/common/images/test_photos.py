"""Photos of all depths, kinds of pixels, orientations and profiles: what they show, or refused by name."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from common.errors import InputError
from common.images.decode import decode
from common.images.opencv import decode_rgb, read_image
from common.images.photos import SkippedPhoto, decode_photo
from common.images.pil_transforms import open_image
from tests.common.images.depths import GREY, SHOWN, scaled, table, tiff
from tests.common.images.profiles import WIDE

FILES = table()


@pytest.mark.parametrize("name", FILES)
def test_S7_every_depth_and_kind_of_pixels_is_right_or_refused(name):
    file, shown = FILES[name]
    if shown is None:
        with pytest.raises(SkippedPhoto) as refused:
            decode_photo(file)
        assert refused.value.reason == "pixels of another kind"
        with pytest.raises(InputError, match="not a readable image"):
            decode_rgb(file, name)
        return
    pixels = decode_photo(file).pixels[..., ::-1]
    assert pixels.shape == SHOWN.shape
    assert np.abs(pixels - shown).max() <= 1
    deep = decode_rgb(file, name)
    assert np.abs(deep * (255 / np.iinfo(deep.dtype).max) - shown).max() <= 1


@pytest.mark.parametrize("name", FILES)
def test_S7_readers_by_pillow_are_right_or_refuse_by_name(name):
    file, shown = FILES[name]
    for read in (lambda: decode(file, name), lambda: np.asarray(open_image(io.BytesIO(file), "RGB", name))):
        try:
            pixels = read()
        except InputError:
            continue
        assert shown is None or np.abs(pixels.astype(float) - shown).max() <= 1
        assert shown is not None or "ycbcr" in name or "lab" in name or "five" in name  # Pillow's own answer


def test_S6_further_pages_and_frames_are_noted():
    assert decode_photo(tiff(8, 1, scaled(GREY, 255), pages=3)).notes == {"pages": 3}
    frames = [Image.fromarray(np.roll(SHOWN, shift, 0)) for shift in range(4)]
    for kind in ("WEBP", "PNG", "TIFF", "AVIF"):
        stream = io.BytesIO()
        frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
        assert decode_photo(stream.getvalue()).notes == {"pages": 4}, kind
    assert decode_photo(tiff(8, 1, scaled(GREY, 255))).notes == {}


def profiled(profile, image=None, kind="PNG", **options):
    """Return SHOWN as a file with a profile."""
    stream = io.BytesIO()
    (image or Image.fromarray(SHOWN)).save(stream, kind, icc_profile=profile, **options)
    return stream.getvalue()


@pytest.mark.parametrize("profile", WIDE)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_S14_colours_of_other_profiles_become_srgb(kind, profile, tmp_path):
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 100}}
    file = profiled(WIDE[profile], kind=kind, **options.get(kind, {}))
    opened = Image.open(io.BytesIO(file))
    expected = np.asarray(ImageCms.profileToProfile(opened.convert("RGB"), io.BytesIO(WIDE[profile]),
                                                    ImageCms.createProfile("sRGB"), outputMode="RGB")).astype(int)
    photo = decode_photo(file)
    assert photo.notes == {"icc": "wide"}
    assert np.abs(photo.pixels[..., ::-1] - expected).max() <= 1
    plain = decode_photo(file, icc=False).pixels[..., ::-1]
    assert np.abs(plain - expected).max() > 6
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(file)
    assert np.abs(read_image(path) * 255 - expected).max() <= 1.01
    assert np.abs(np.asarray(open_image(path, "RGB", path, photo=True)) - expected).max() <= 1


def test_S14_srgb_changes_nothing_and_broken_profiles_are_noted():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = decode_photo(profiled(srgb))
    assert photo.notes == {}
    assert np.array_equal(photo.pixels[..., ::-1], SHOWN)
    broken = decode_photo(profiled(b"no profile at all" * 20))
    assert list(broken.notes) == ["icc_ignored"]
    assert np.array_equal(broken.pixels[..., ::-1], SHOWN)
    grey = decode_photo(profiled(WIDE["adobe"], Image.fromarray(GREY[..., 0])), keep_grey=True)
    assert grey.pixels.shape == GREY.shape[:2]
    assert grey.notes == {"icc": "wide"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_S13_orientation_is_seen_anywhere_in_the_file(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(SHOWN).save(stream, "JPEG", quality=95, exif=exif)
    whole = stream.getvalue()
    padding = b"\xff\xed" + (60_002).to_bytes(2, "big") + bytes(60_000)  # Photoshop's blocks may take more than 64 kB
    file = whole[:2] + padding * 3 + whole[2:]
    path = tmp_path / "a.jpg"
    path.write_bytes(file)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    photo = decode_photo(file)
    assert photo.orientation == orientation
    assert np.abs(photo.pixels[..., ::-1] - expected).max() <= 1
    assert np.abs(read_image(path) * 255 - expected).max() <= 1.01
    assert np.array_equal(np.asarray(open_image(path, "RGB", path, photo=True)), expected)
    stored = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(read_image(path, compat=True) * 255 - stored).max() <= 1.01
    assert np.array_equal(decode(file, path), stored)
