"""Image files as RGB pixels."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.images.opencv import decode_rgb, read_image
from tests.common.datasets.makers import pixels

RGB = pixels(1, side=12)[0]


def write(path, image, **options):
    image.save(path, **options)
    return path


def test_rgb_comes_back_bit_for_bit(tmp_path):
    path = write(tmp_path / "a.png", Image.fromarray(RGB))
    np.testing.assert_array_equal(decode_rgb(path.read_bytes(), path), RGB)
    found = read_image(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, RGB.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA", "P"])
def test_other_modes_become_rgb_without_alpha(mode, tmp_path):
    image = Image.fromarray(RGB).convert(mode)
    path = write(tmp_path / "a.png", image)
    expected = np.asarray(image.convert("RGBA").convert("RGB")) if mode != "RGBA" else RGB
    np.testing.assert_array_equal(decode_rgb(path.read_bytes(), path), expected)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    path = write(tmp_path / "a.jpg", Image.new("CMYK", (16, 8), (0, 255, 0, 0)))
    assert read_image(path).shape == (8, 16, 3)


def test_sixteen_bits_are_scaled_to_one(tmp_path):
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    np.testing.assert_allclose(read_image(path)[0, :, 0], deep[0] / 65535, rtol=1e-6)
    assert read_image(path, compat=True).max() == 257  # the original divides by 255 whatever the depth


def test_the_original_leaves_photos_as_they_lie(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path / "a.jpg", Image.new("RGB", (20, 10)), exif=exif)
    assert read_image(path).shape == (20, 10, 3)
    assert read_image(path, compat=True).shape == (10, 20, 3)


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_image_is_named(data, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match="a.png: not a readable image") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="b.png: no such file"):
        read_image(tmp_path / "b.png")


def test_floating_point_pixels_are_refused():
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(stream, "TIFF")
    with pytest.raises(InputError, match="floating-point samples"):
        decode_rgb(stream.getvalue(), "x.tif")
