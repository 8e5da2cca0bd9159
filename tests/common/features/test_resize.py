"""Resizing: clean-fid, Pillow and torchvision called directly, and TensorFlow's rule written out, on many shapes."""

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.features import resize
from tests.common.torchvision_guard import import_torchvision

SHAPES = [(1, 1), (2, 7), (32, 32), (64, 301), (299, 299), (299, 120), (500, 299), (313, 640), (1500, 40)]


def picture(shape, seed=0):
    """Return uint8 (H, W, 3): noise, sharp edges and flat parts, black and white among them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels[: shape[0] // 2, : shape[1] // 3] = 255
    pixels[shape[0] // 2 :, : shape[1] // 4] = 0
    return pixels


@pytest.fixture(scope="module")
def cleanfid_resize():
    import_torchvision()
    from cleanfid import resize as module

    return module


@pytest.fixture(scope="module")
def transforms():
    import_torchvision()
    from torchvision import transforms as module

    return module


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["clean", "legacy_pytorch"])
def test_modes_give_what_clean_fid_gives(mode, shape, cleanfid_resize):
    image = picture(shape)
    got = resize.resize_image(image, mode)
    assert (got.dtype, got.shape) == (np.float32, (299, 299, 3))
    np.testing.assert_allclose(got, cleanfid_resize.build_resizer(mode)(image), rtol=0, atol=2e-4)


@pytest.mark.parametrize("size", [1, 31, 64, 224, 512])
def test_clean_of_any_size_is_pillow_s(size, cleanfid_resize):
    image = picture((150, 97))
    expected = cleanfid_resize.make_resizer("PIL", False, "bicubic", (size, size))(image)
    np.testing.assert_allclose(resize.resize_image(image, "clean", size), expected, rtol=0, atol=2e-4)


def test_floats_are_resized_as_they_are_and_clipped(cleanfid_resize):
    image = picture((40, 60)).astype(np.float64) * 1.5 - 60.25
    for mode in ("clean", "legacy_pytorch"):
        got = resize.resize_image(image, mode)
        assert got.min() == 0
        assert got.max() == 255
        np.testing.assert_allclose(got, cleanfid_resize.build_resizer(mode)(image), rtol=0, atol=3e-4)


def tensorflow_pixel(image, row, column, size):
    """Return one pixel as TensorFlow 1's resize_bilinear without corner alignment defines it."""
    height, width, _ = image.shape
    y, x = row * height / size, column * width / size
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    image = image.astype(np.float64)
    top = image[y0, x0] + (image[y0, x1] - image[y0, x0]) * (x - x0)
    bottom = image[y1, x0] + (image[y1, x1] - image[y1, x0]) * (x - x0)
    return top + (bottom - top) * (y - y0)


@pytest.mark.parametrize("shape", SHAPES)
def test_legacy_tensorflow_follows_its_rule(shape):
    image = picture(shape)
    got = resize.resize_image(image, "legacy_tensorflow")
    places = [*np.random.default_rng(1).integers(0, 299, (40, 2)), (0, 0), (298, 298), (0, 298), (298, 0)]
    expected = [tensorflow_pixel(image, row, column, 299) for row, column in places]
    # Source coordinates are float32 there and here, so where the image jumps by 255 a few 1e-5 of a pixel show.
    np.testing.assert_allclose([got[row, column] for row, column in places], expected, rtol=0, atol=255 * 3e-4)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_fast_is_torchvision_s_resize_of_float_tensors(shape, antialias, transforms):
    image = picture(shape)
    tensor = torch.from_numpy(image).permute(2, 0, 1).float()
    expected = transforms.Resize((299, 299), antialias=antialias)(tensor).clamp(0, 255).permute(1, 2, 0)
    np.testing.assert_allclose(resize.resize_image(image, "fast", antialias=antialias), expected, rtol=0, atol=2e-3)


def test_images_need_not_be_contiguous_or_writeable_and_stay_as_they_are():
    image = picture((50, 80))
    kept = image.copy()
    view = image[::-1, ::2]
    expected = resize.resize_image(view.copy(), "clean")
    image.flags.writeable = False
    np.testing.assert_array_equal(resize.resize_image(view, "clean"), expected)
    same = resize.resize_image(picture((299, 299)), "fast")
    same[:] = 0
    np.testing.assert_array_equal(image, kept)
    floats = np.full((299, 299, 3), 300, np.float32)
    for mode in resize.MODES:
        resize.resize_image(floats, mode)
    assert floats.min() == 300


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(90, 160), (160, 90), (64, 64), (64, 100), (33, 47), (721, 1283)])
def test_cover_and_crop_to_a_square_is_setup_fid_s_transform(shape, antialias, transforms):
    image = picture(shape)
    chain = transforms.Compose([transforms.Resize(64, antialias=antialias), transforms.CenterCrop(64)])
    expected = chain(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    got = resize.cover_and_crop(image, 64, antialias)
    assert (got.dtype, got.shape) == (np.uint8, (64, 64, 3))
    assert np.abs(got.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(got, resize.cover_and_crop(image, (64, 64), antialias))


@pytest.mark.parametrize("shape", [(720, 1280), (100, 1000), (1000, 100), (256, 512), (300, 600), (37, 91)])
def test_cover_and_crop_to_a_rectangle_keeps_proportions_and_the_centre(shape):
    covered = resize.cover(picture(shape), (256, 512))
    assert min(covered.shape[0] - 256, covered.shape[1] - 512) == 0
    assert covered.shape[0] >= 256
    assert covered.shape[1] >= 512
    assert abs(covered.shape[0] / covered.shape[1] / (shape[0] / shape[1]) - 1) < 0.01
    cropped = resize.cover_and_crop(picture(shape), (256, 512))
    assert cropped.shape == (256, 512, 3)
    top, left = round((covered.shape[0] - 256) / 2), round((covered.shape[1] - 512) / 2)
    np.testing.assert_array_equal(cropped, covered[top : top + 256, left : left + 512])


def test_normalisation_of_each_mode():
    pixels = np.array([0, 127.5, 128, 255])
    np.testing.assert_allclose(resize.normalise(pixels, "legacy_pytorch"), [-1, 0, 1 / 255, 1], atol=1e-12)
    for mode in ("clean", "legacy_tensorflow", "fast"):
        np.testing.assert_allclose(resize.normalise(pixels, mode), [-1, -0.5 / 128, 0, 127 / 128])


def test_other_images_and_modes_are_refused():
    good = picture((8, 8))
    for image in (good[..., 0], good[..., :2], good.astype(int), good[:0]):
        with pytest.raises(InputError, match="expected uint8 or float"):
            resize.resize_image(image, "clean")
    with pytest.raises(InputError, match="Did you mean legacy_pytorch"):
        resize.resize_image(good, "legacy_pytorhc")
    with pytest.raises(InputError, match="unknown mode"):
        resize.normalise(good, "")
