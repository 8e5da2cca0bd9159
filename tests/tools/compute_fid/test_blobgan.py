"""compute_fid of a BlobGAN's checkpoint: its averaged pair, and how the reference's images were prepared."""

from pathlib import Path

import numpy as np
import pytest

from common.generators import find_kind, open_generator
from tests.tools.blobgan_networks import save_blobgan, save_pair
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.compute_fid.runs import SMALL, score

GENERATOR = "checkpoints/blobgan_256x512.ckpt"
STATISTICS = "clean_small-features-v1_custom_na.npz"


@pytest.fixture(autouse=True)
def checkpoint(here):
    save_blobgan(here / GENERATOR)


def statistics(name, *words):
    results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", name, *SMALL, *words)


@pytest.mark.parametrize("command", ["fast", "clean"])
def test_the_documents_command_scores_the_averaged_pair(here, command):
    statistics("bdd_rect_256", "-r", 16, 32, "--fit", "squash")
    words = (command, GENERATOR, "--num_gen", "1_2", "--batch_size", 16, "--dataset_name", "bdd_rect_256", *SMALL)
    results = results_of("compute_fid", *words)
    assert results["generated"] == "blobgan_256x512.ckpt (blobgan, 12 images, seed 0)"
    assert (results["resolution"], results["notes"]) == ([16, 32], [])
    results_of("generate_blobgan", GENERATOR, "-n", 12, "-t", 0, "-s", "out", "--device", "cpu")
    folder = score("out/imgs", "--dataset_name", "bdd_rect_256", "-r", 0)
    assert results["frechet_distance"] == pytest.approx(folder["frechet_distance"], rel=1e-5)


def test_T16_a_generator_gives_images_of_the_averaged_weights(here):
    averaged, raw = (open_generator(GENERATOR, weights=weights).generate([3], 0) for weights in ("ema", "raw"))
    assert (averaged - raw).abs().max() > 1
    assert open_generator(GENERATOR).description["weights"] == "ema"
    pair = open_generator(save_pair(here / "pair.safetensors")).generate([3], 0)
    assert (averaged - pair).abs().max() < 0.1


def test_a_blobgan_is_found_by_its_contents(here):
    for name in ("a.bin", "b.pt", "c"):
        Path(name).write_bytes(Path(GENERATOR).read_bytes())
        assert find_kind(name) == "blobgan"
    save_pair(here / "pair.safetensors")
    assert find_kind("pair.safetensors") == "blobgan"
    assert open_generator("b.pt").resolution == (16, 32)


def test_an_image_is_the_same_in_every_batch(here):
    generator = open_generator(GENERATOR)
    together = generator.generate(range(40), 1)
    for batch in ([17], [39, 3], range(30, 37)):
        assert (open_generator(GENERATOR).generate(batch, 1) == together[list(batch)]).all()
    assert together.min() >= 0
    assert together.max() <= 255


def test_truncation_is_as_stylegan2s_one_for_none(here):
    none, default = (open_generator(GENERATOR, truncation=value).generate([1], 0) for value in (1.0, None))
    assert (none == default).all()
    results_of("generate_blobgan", GENERATOR, "-n", 2, "-t", 0.75, "-s", "out", "--device", "cpu")
    results_of("generate_blobgan", GENERATOR, "-n", 2, "-t", 0, "-s", "none", "--device", "cpu")
    for truncation, folder in ((0.25, "out"), (1, "none")):
        distance = score(GENERATOR, "--num_gen", 2, "--truncation", truncation, "--reference", f"{folder}/imgs")
        assert distance["frechet_distance"] == pytest.approx(0, abs=1e-9)
    assert score(GENERATOR, "--num_gen", 2, "--truncation", 0.25, "--reference", "none/imgs")["frechet_distance"] > 1e-6


def test_statistics_of_another_preparation_than_the_models_are_named(here):
    """A square crop, as the original makes it; a crop to the model's shape; statistics that tell nothing."""
    for name, words in (("square", ("-r", 16)), ("crop", ("-r", 16, 32)), ("own", ("-r", 16, 32, "--fit", "squash")),
                        ("asis", ())):
        statistics(name, *words)
    words = (GENERATOR, "--num_gen", 12, "--dataset_name")
    for name, text in (("square", "16 x 16"), ("crop", "16 x 32")):
        (note,) = score(*words, name)["notes"]
        assert "blobgan_256x512.ckpt (blobgan, 12 images, seed 0) 16 x 32 squashed" in note
        assert f"{name}_{STATISTICS} {text};" in note
    assert score(*words, "own")["notes"] == score(*words, "asis")["notes"] == []
    with np.load(f"fid_stats/own_{STATISTICS}") as stored:
        np.savez(f"fid_stats/bare_{STATISTICS}", mu=stored["mu"], sigma=stored["sigma"])
    notes = score(*words, "bare")["notes"]
    assert any(f"bare_{STATISTICS} were prepared is unknown" in note and "16 x 32 squashed" in note for note in notes)


def test_a_square_blobgan_is_compared_by_size_alone(here):
    save_blobgan(here / "square.ckpt", aspect_ratio=1)
    for name, words in (("cover", ("-r", 16)), ("own", ("-r", 16, "--fit", "squash"))):
        statistics(name, *words)
        assert score("square.ckpt", "--num_gen", 12, "--dataset_name", name)["notes"] == []


def test_a_blobgan_of_cropped_images_says_so_in_its_checkpoint(here):
    from common.images.squash import SquashOrCrop

    save_blobgan(here / "crop.ckpt", other={"transform": SquashOrCrop(16, 32, "cover").describe()})
    statistics("crop", "-r", 16, 32)
    statistics("own", "-r", 16, 32, "--fit", "squash")
    assert score("crop.ckpt", "--num_gen", 12, "--dataset_name", "crop")["notes"] == []
    (note,) = score("crop.ckpt", "--num_gen", 12, "--dataset_name", "own")["notes"]
    assert "16 x 32 squashed" in note


def test_options_of_other_generators_are_refused(here):
    for words in (("--z_dim", 8), ("--method", "pc"), ("--output_range", "unit")):
        line = refusal_of("compute_fid", "clean", GENERATOR, "--num_gen", 4, "--reference", "real", *SMALL, *words)
        assert f"--{words[0].lstrip('-')}" in line
        assert "'blobgan' has no such option" in line


def test_a_live_pair_alone_says_so(here):
    from common.formats.checkpoints import load_torch, save_torch

    value = load_torch(GENERATOR)
    value["state_dict"] = {name: tensor for name, tensor in value["state_dict"].items() if "_ema." not in name}
    save_torch("raw.ckpt", value)
    ended = call_tool("compute_fid", "clean", "raw.ckpt", "--num_gen", "4", "--reference", "real", *SMALL)
    assert ended.status == 2
    assert "no averaged weights" in ended.err
