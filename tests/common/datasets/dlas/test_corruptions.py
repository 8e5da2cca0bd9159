"""Corruptions: formulas, what they leave alone, draws, wrong options."""

import io
import math
import random

import cv2
import numpy as np
import pytest
from PIL import Image

from common.datasets.dlas.corruption_operations import JPEG_QUALITY, NAMES, find_operation, jpeg_quality, line_kernel
from common.datasets.dlas.corruptions import Corruptor, enlarge
from common.datasets.dlas.draws import ItemDraws
from common.errors import InputError
from common.seeding import unit_numpy

MILDEST_IS_NOTHING = sorted(set(NAMES)
                            - {"color_quantization", "greyscale", "lq_resampling4x", "noise-5", *JPEG_QUALITY})


def photo(height=37, width=50, seed=0):
    """Smooth float32 RGB in .1...9."""
    noise = np.random.default_rng(seed).random((8, 10, 3), dtype=np.float32)
    return np.clip(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 0.8 + 0.1, 0.1, 0.9)


def apply(name, strength, image=None, applied=None, seed=0, **options):
    image = photo() if image is None else image
    return Corruptor(options).apply(image, name, strength, applied, ItemDraws(unit_numpy(seed)))


def test_color_quantization_rounds_down_to_steps_of_255():
    image = photo()
    for strength, step in ((0, 4), (0.29, 4), (0.3, 8), (0.6, 16), (0.9, 32), (1, 32)):
        np.testing.assert_allclose(apply("color_quantization", strength, image),
                                   np.floor(image * 255 / step) * step / 255, atol=1e-6)


def test_gaussian_blur_keeps_the_mean_and_the_sigma():
    dot = np.zeros((41, 41, 3), np.float32)
    dot[20, 20] = 1
    blurred = apply("gaussian_blur", 0.8, dot, corruption_blur_scale=2)[..., 0].astype(np.float64)
    offsets = np.arange(41) - 20
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert math.sqrt((blurred.sum(0) * offsets**2).sum()) == pytest.approx(2 * 1.5 * 0.8, rel=0.02)


@pytest.mark.parametrize("length", [1, 1.2, 2, 2.5, 4, 9])
@pytest.mark.parametrize("angle", [0, 30, 90, 217])
def test_a_line_kernel_lies_along_its_angle(length, angle):
    kernel = line_kernel(length, angle).astype(np.float64)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert kernel.shape[0] % 2 == 1
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    half = kernel.shape[0] // 2
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    along = columns * math.cos(math.radians(angle)) - rows * math.sin(math.radians(angle))
    across = columns * math.sin(math.radians(angle)) + rows * math.cos(math.radians(angle))
    assert (kernel * across**2).sum() <= 0.34  # a line of a pixel's width
    assert (kernel * along**2).sum() == pytest.approx((length - 1) ** 2 / 12, abs=0.6)


def test_noise_has_no_bias_and_its_width():
    grey = np.full((200, 200, 3), 0.5, np.float32)
    for name, strength, width in (("noise", 1, 6 / 255), ("noise", 0.5, 3 / 255), ("noise-5", 0.1, 5 / 255)):
        added = apply(name, strength, grey) - grey
        assert abs(added.mean()) < 1e-4
        assert added.std() == pytest.approx(width / math.sqrt(12), rel=0.02)


def test_jpeg_is_pillows_of_the_stated_quality():
    image = photo()
    for name, (low, span) in JPEG_QUALITY.items():
        assert jpeg_quality(name, 1) == low
        assert jpeg_quality(name, 0) == low + span
        stream = io.BytesIO()
        Image.fromarray((image * 255).astype(np.uint8)).save(stream, "JPEG", quality=int(0.5 * span) + low)
        expected = np.asarray(Image.open(stream)) / 255
        assert np.abs(apply(name, 0.5, image) - expected).mean() < 0.004


def test_jpeg_is_skipped_beside_noise():
    image = photo()
    np.testing.assert_array_equal(apply("jpeg", 0.5, image, ["noise-5", "jpeg"]), image)
    assert np.abs(apply("jpeg", 0.5, image, ["block_noise", "jpeg"]) - image).max() > 0


def test_jpeg_of_values_above_one_does_not_wrap_around():
    bright = np.full((16, 16, 3), 1.02, np.float32)
    assert apply("jpeg", 0.5, bright).min() > 0.95
    assert Corruptor({}, compat=True).apply(bright, "jpeg", 0.5).max() < 0.1


def test_saturation_and_greyscale():
    image = photo()
    np.testing.assert_allclose(apply("saturation", 0.5, image), np.minimum(image + 0.15, 1), atol=1e-6)
    np.testing.assert_allclose(apply("greyscale", 0.5, image), np.repeat(image.mean(2)[..., None], 3, 2), atol=1e-6)


@pytest.mark.parametrize("name", MILDEST_IS_NOTHING)
def test_strength_zero_changes_nothing(name):
    np.testing.assert_array_equal(apply(name, 0.0), photo())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"none"}))
def test_every_corruption_does_something(name):
    image = photo()
    assert np.abs(Corruptor({"fixed_corruptions": [name], "cosine_bias": False}).corrupt([image], unit_numpy(3))[0]
                  - image).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_sizes_types_ranges_and_the_input_are_kept(name):
    images = [photo(), photo(21, 7), photo(3, 5)]
    images[1][0, 0] = (0, 0.5, 1)
    before = [image.copy() for image in images]
    for seed in range(3):
        results = Corruptor({"fixed_corruptions": [name]}).corrupt(images, unit_numpy(seed))
        for image, old, result in zip(images, before, results):
            np.testing.assert_array_equal(image, old)
            assert (result.shape, result.dtype) == (image.shape, np.float32)
            assert 0 <= result.min() <= result.max() <= 1


def test_color_jitter_keeps_within_a_fifth():
    image = np.full((8, 8, 3), 0.5, np.float32)
    values = [apply("color_jitter", 1, image, seed=seed).mean() for seed in range(30)]
    assert min(values) >= 0.4 - 1e-6
    assert max(values) <= 0.6 + 1e-6
    assert np.std(values) > 0.03
    np.testing.assert_array_equal(apply("color_jitter", 1 / 51, photo()), photo())


def test_resampling_restores_the_size_and_two_of_them_too():
    images = [photo(37, 50)] * 3
    names = ["lq_resampling4x", "lq_resampling", "lq_resampling4x"]
    results = Corruptor({"fixed_corruptions": names}).corrupt(images, unit_numpy(0))
    assert [image.shape for image in results] == [(37, 50, 3)] * 3
    assert enlarge(photo(9, 12), (37, 50), 4, compat=True).shape == (36, 48, 3)


def test_resampling_draws_all_four_ways_alike():
    found = {}
    for seed in range(200):
        small = apply("lq_resampling4x", 0.5, seed=seed)
        assert small.shape == (9, 12, 3)
        found[small.tobytes()] = found.get(small.tobytes(), 0) + 1
    assert len(found) == 4
    assert min(found.values()) > 30


def test_strengths_lean_towards_zero_unless_told_otherwise():
    images = [np.zeros((1, 1, 3), np.float32)] * 4000
    for bias, mean in ((True, 1 - 2 / math.pi), (False, 0.5)):
        made = Corruptor({"fixed_corruptions": ["none"], "cosine_bias": bias})
        strengths = made.corrupt(images, unit_numpy(0), return_entropy=True)[1]
        assert np.mean(strengths) == pytest.approx(mean, abs=0.02)


def test_entropy_is_of_the_fixed_ones_image_by_image():
    options = {"fixed_corruptions": ["saturation", "none"], "random_corruptions": ["greyscale", "none"],
               "num_corrupts_per_image": 3}
    images, strengths = Corruptor(options).corrupt([photo()] * 2, unit_numpy(1), return_entropy=True)
    assert len(strengths) == 4
    assert len(images) == 2


def test_the_drawn_names_are_those_of_the_whole_list():
    options = {"random_corruptions": ["greyscale", "none"], "num_corrupts_per_image": 1}
    for seed in range(20):
        grey = [float(np.ptp(image, axis=2).max()) < 1e-6
                for image in Corruptor(options).corrupt([photo()] * 4, unit_numpy(seed))]
        assert len(set(grey)) == 1


def test_nothing_configured_hands_back_the_same_list():
    images = [photo()]
    assert Corruptor({"random_corruptions": ["no such"]}).corrupt(images) is images
    assert Corruptor({}).corrupt(images, return_entropy=True) == (images, [])


def test_draws_come_from_the_given_generator_alone():
    options = {"fixed_corruptions": ["noise", "motion_blur", "color_jitter"], "random_corruptions": list(NAMES),
               "num_corrupts_per_image": 2}
    states = random.getstate(), np.random.get_state()[1].copy()
    first = Corruptor(options).corrupt([photo()], unit_numpy(5))[0]
    used = Corruptor({**options, "random_seed": 3})
    used.corrupt([photo()])
    np.testing.assert_array_equal(used.corrupt([photo()], unit_numpy(5))[0], first)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_compat_keeps_the_four_names_without_effect_and_the_bias():
    image = photo()
    made = Corruptor({"compat": True})
    for name in ("block_noise", "color_shift", "interlacing", "chromatic_aberration"):
        np.testing.assert_array_equal(made.apply(image, name, 1.0), image)
    assert (made.apply(image, "noise", 1.0) >= image).all()


def test_names_are_matched_by_what_they_contain():
    assert find_operation("strong_gaussian_blur") is find_operation("gaussian_blur")
    assert find_operation("block_noise") is not find_operation("noise")
    assert find_operation("jpeg-foo") is None


@pytest.mark.parametrize(("options", "said"), [
    ({"fixed_corruptions": ["gausian_blurr"]}, "unknown corruption 'gausian_blurr'. Did you mean gaussian_blur?"),
    ({"fixed_corruptions": ["jpeg-brod"]}, "Did you mean jpeg-broad?"),
    ({"random_corruptions": ["bogus"], "num_corrupts_per_image": 1}, "unknown corruption 'bogus'"),
    ({"num_corrupts_per_image": 2}, "random_corruptions: num_corrupts_per_image is 2"),
    ({"num_corrupts_per_image": -1}, "an integer of at least 0"),
    ({"num_corrupts_per_image": float("inf")}, "an integer of at least 0"),
    ({"fixed_corruptions": "jpeg"}, "a list of names"),
    ({"corruption_blur_scale": "big"}, "a number of at least 0"),
    ({"cosine_bias": "yes"}, "true or false"),
    (["jpeg"], "expected a dictionary"),
])
def test_wrong_options_are_told_in_one_line(options, said):
    with pytest.raises(InputError) as caught:
        Corruptor(options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_none_reads_as_the_default():
    keys = ("fixed_corruptions", "random_corruptions", "num_corrupts_per_image", "corruption_blur_scale", "cosine_bias",
            "random_seed")
    made = Corruptor(dict.fromkeys(keys))
    assert (made.fixed, made.count, made.blur_scale, made.cosine_bias) == ([], 0, 1.0, True)
