"""generate_dataset: images that depend on seed and number alone, the documented tree, activations made alike."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from common.activations import open_activations
from common.diffusion.edm_sampling import Sampling, sample
from common.diffusion.labels import class_vectors
from common.images.pixels import to_uint8
from common.networks.adm_weights import load_adm
from tests.tools.activation_networks import contents, save_network
from tests.tools.commands import refusal_of, results_of

SMALL = ("--model", "imagenet", "--checkpoint_path", "small.safetensors", "--device", "cpu")
LAYERS = ["encoder_bottleneck", "midblock"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    save_network(folder / "small.safetensors")
    save_network(folder / "free.safetensors", label_dim=0)
    return folder


@pytest.fixture(autouse=True)
def here(own_folder, made):
    for path in made.iterdir():
        (own_folder / path.name).symlink_to(path)
    return own_folder


def generate(*words, out="data"):
    return results_of("generate_dataset", *SMALL, "--batch_size", "4", "--output_dir", out, *words)


def info(out="data"):
    return json.loads(open(f"{out}/metadata/imagenet/dataset_info.json").read())


def pictures(out="data"):
    return np.stack([np.asarray(Image.open(f"{out}/{record['image_path']}")) for record in info(out)["samples"]])


def test_one_step_and_the_pass_that_made_it():
    results = generate("--num_samples", "7")
    assert (results["num_samples"], results["network_calls"]) == (7, 1)
    network, told = load_adm("small.safetensors"), info()
    classes = np.random.RandomState(10).randint(0, 4, 7)
    assert [record["class_label"] for record in told["samples"]] == classes.tolist()
    assert [set(record)
            for record in told["samples"]] == [{"sample_id", "class_label", "image_path", "activation_path",
                                                "batch_index"}] * 7
    images = sample(network, Sampling(), 10, range(7), classes)
    assert np.abs(pictures().astype(int) - to_uint8(images, "dmd2")).max() <= 1
    from common.diffusion.noise import UnitNoise

    noise = UnitNoise(10, range(7), network.image_shape, ahead=1)()
    outputs = network.run(80 * noise, 80.0, class_vectors(classes, 4), layers=LAYERS)[1]
    expected = torch.cat([outputs[layer].flatten(1) for layer in LAYERS], dim=1)
    torch.testing.assert_close(torch.from_numpy(open_activations("data", "imagenet").rows()[:]), expected, rtol=1e-4,
                               atol=1e-5)


@pytest.mark.parametrize("words", [("--method", "heun", "--num_steps", "3", "--sigma_max", "20", "--sigma_min", "0.01"),
                                   ("--method", "fewstep", "--num_steps", "2", "--guidance", "2"),
                                   ("--method", "multistep", "--num_steps", "3", "--eta", "0.5")])
def test_finished_pictures_are_fed_like_real_ones(words):
    generate("--num_samples", "5", *words, "--input_mode", "clean", "--conditioning_sigma", "0.2", "--label_mode",
             "none")
    x = torch.from_numpy(pictures()).permute(0, 3, 1, 2).float() / 127.5 - 1
    outputs = load_adm("small.safetensors").run(x, 0.2, None, layers=LAYERS, image=False)[1]
    expected = torch.cat([outputs[layer].flatten(1) for layer in LAYERS], dim=1)
    torch.testing.assert_close(torch.from_numpy(open_activations("data", "imagenet").rows()[:]), expected, rtol=1e-4,
                               atol=1e-5)
    assert info()["input_mode"] == "clean"


def test_multistep_samples_are_the_library_s_at_any_batch_size_and_after_a_resume(here):
    words = ("--method", "multistep", "--num_steps", "6", "--sigma_max", "20", "--sigma_min", "0.01")
    results = generate("--num_samples", "7", *words)
    assert results["network_calls"] == 6
    sampling = Sampling("multistep", 6, 20.0, 0.01)
    classes = np.random.RandomState(10).randint(0, 4, 7)
    images = sample(load_adm("small.safetensors"), sampling, 10, range(7), classes)
    assert np.abs(pictures().astype(int) - to_uint8(images, "dmd2")).max() <= 1
    assert info()["sampling"] == {**asdict(sampling), "S_max": None}
    generate("--num_samples", "7", *words, "--batch_size", "3", out="other")
    assert np.abs(pictures().astype(int) - pictures("other")).max() <= 1
    generate("--num_samples", "4", *words, out="extended")
    generate("--num_samples", "7", *words, out="extended")
    assert contents(here / "extended") == contents(here / "data")
    assert "eta" in refusal_of("generate_dataset", *SMALL, "--num_samples", "7", *words, "--eta", "0")
    generate("--dry_run", *words, out="dry")
    assert not (here / "dry").exists()


def test_metadata_of_other_methods_is_as_published_and_records_without_new_flags_are_taken(here):
    heun = ("--method", "heun", "--num_steps", "2")
    generate("--num_samples", "3", *heun)
    assert "eta" not in info()["sampling"]
    record = here / "data/metadata/imagenet/run.json"
    told = json.loads(record.read_text())
    del told["options"]["eta"]
    record.write_text(json.dumps(told))
    generate("--num_samples", "3", *heun, "--images_from", "data", out="fed")


def test_pictures_of_an_earlier_run_are_fed_again(here, monkeypatch):
    heun = ("--method", "heun", "--num_steps", "2")
    generate("--num_samples", "5", *heun, "--input_mode", "clean", "--conditioning_sigma", "0.2")
    generate("--num_samples", "5", *heun, out="sampled")
    fed = [*heun, "--images_from", "data"]
    with monkeypatch.context() as patch:
        patch.setattr("common.diffusion.edm_sampling.sample", None)
        generate("--num_samples", "5", *fed, out="fed")
    assert contents(here / "fed") == contents(here / "sampled")
    generate("--num_samples", "7", *fed, out="fed")  # two are missing there
    generate("--num_samples", "7", *heun, out="sampled")
    assert np.abs(pictures("fed").astype(int) - pictures("sampled")).max() <= 1
    refusals = {"made with num_steps 2, this command has 3": [*fed, "--num_steps", "3"],
                "its images were made with seed": [*fed, "--seed", "1"],
                "no generate_dataset run here": [*heun, "--images_from", "none"],
                "own --output_dir": [*fed, "--output_dir", "data"],
                "lack the activations": ["--images_from", "data"]}
    for what, words in refusals.items():
        assert what in refusal_of("generate_dataset", *SMALL, "--num_samples", "5", "--output_dir", "other", *words)
    (here / "data/images/imagenet/sample_000001.png").write_bytes(b"no picture")
    assert "sample_000001.png: cannot be read" in refusal_of("generate_dataset", *SMALL, "--output_dir", "other",
                                                             "--num_samples", "5", *fed)


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_a_larger_number_extends_and_gives_the_bytes_of_one_run(form, here):
    generate("--num_samples", "6", "--format", form)
    generate("--num_samples", "11", "--format", form)
    generate("--num_samples", "11", "--format", form, out="whole")
    assert contents(here / "data") == contents(here / "whole")
    assert generate("--num_samples", "5", "--format", form)["num_samples"] == 11  # a total, and more are there


def test_batch_size_changes_nothing_but_rounding():
    generate("--num_samples", "6", "--samples_per_class", "2")
    generate("--num_samples", "6", "--samples_per_class", "2", "--batch_size", "3", out="other")
    assert [record["class_label"] for record in info()["samples"]] == [0, 0, 1, 1, 2, 2]
    first, second = (open_activations(out, "imagenet").rows()[:] for out in ("data", "other"))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)
    assert np.abs(pictures().astype(int) - pictures("other")).max() <= 1


def test_chosen_classes_and_networks_without_any():
    generate("--num_samples", "6", "--target_classes", "3,1", "--samples_per_class", "1", "--noimages")
    assert [(record["class_label"], record["image_path"]) for record in info()["samples"]] == [(1, None), (3, None)] * 3
    generate("--num_samples", "2", "--checkpoint_path", "free.safetensors", out="free")
    assert [record["class_label"] for record in info("free")["samples"]] == [None, None]


REFUSED = {
    "sdxl is not yet implemented": ("--model", "sdxl"),
    "every activation would be NaN": ("--conditioning_sigma", "0"),
    "no single pass": ("--method", "heun", "--input_mode", "sampling"),
    "unguided": ("--guidance", "2"),
    "starts at --conditioning_sigma": ("--sigma_max", "20"),
    "unknown class '4'. Use 0 .. 3": ("--target_classes", "4"),
    "--eta -1": ("--method", "multistep", "--eta", "-1"),
    "expected less than sigma_max": ("--method", "heun", "--sigma_min", "90"),
    "--num_steps: acts on --method fewstep": ("--num_steps", "4"),
    "--S_noise: acts on --S_churn": ("--method", "heun", "--S_noise", "1.003"),
    "--nostochastic: acts on --method fewstep": ("--method", "multistep", "--nostochastic"),
    "unknown layer 'middle'": ("--layers", "middle"),
    "the network is unconditional": ("--checkpoint_path", "free.safetensors", "--samples_per_class", "2"),
    "must be at least 1": ("--samples_per_class", "0"),
    "needs CUDA": ("--mixed_precision", "bf16"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_mistakes_take_one_line_and_write_nothing(what, here):
    assert what in refusal_of("generate_dataset", *SMALL, *REFUSED[what])
    assert not (here / "data").exists()


def test_another_job_in_the_tree_is_refused_and_a_dry_run_writes_nothing(here):
    generate("--dry_run")
    assert not (here / "data").exists()
    generate("--num_samples", "3")
    assert "seed" in refusal_of("generate_dataset", *SMALL, "--num_samples", "3", "--seed", "11")
    assert "method" in refusal_of("generate_dataset", *SMALL, "--num_samples", "3", "--method", "heun")


HEUN = ("--method", "heun", "--num_steps", "3", "--sigma_max", "20", "--sigma_min", "0.01")


def heun_images(count):
    classes = np.random.RandomState(10).randint(0, 4, count)
    return sample(load_adm("small.safetensors"), Sampling("heun", 3, 20.0, 0.01), 10, range(count), classes)


@pytest.mark.parametrize(("words", "sampling", "origin"), [
    (HEUN, Sampling("heun", 3, 20.0, 0.01), "edm"), ((), Sampling(), "dmd2"),
    (("--method", "fewstep", "--num_steps", "2"), Sampling("fewstep", 2), "dmd2"),
    (("--method", "multistep", "--num_steps", "2"), Sampling("multistep", 2), "dmd2"),
])
def test_A5_bytes_are_made_as_by_the_samplers_origin_or_as_asked_for(words, sampling, origin):
    classes = np.random.RandomState(10).randint(0, 4, 8)
    images = sample(load_adm("small.safetensors"), sampling, 10, range(8), classes)
    for chosen in (None, "edm", "dmd2"):
        out = f"as_{chosen}"
        asked = ("--to_uint8", chosen) if chosen else ()
        generate("--num_samples", "8", "--batch_size", "8", *words, *asked, out=out)
        kind = chosen or origin
        assert info(out)["to_uint8"] == kind
        far = pictures(out).astype(int) - to_uint8(images, kind)
        other = pictures(out).astype(int) - to_uint8(images, "dmd2" if kind == "edm" else "edm")
        assert (far != 0).mean() < 0.02 < 0.2 < (other != 0).mean()


def test_A5_folders_begun_before_the_flag_go_on_as_they_were(here):
    generate("--num_samples", "5", *HEUN, "--to_uint8", "dmd2")
    record = here / "data/metadata/imagenet/run.json"
    told = json.loads(record.read_text())
    del told["options"]["to_uint8"], told["request"]["to_uint8"]
    record.write_text(json.dumps(told))
    assert "converted as by dmd2" in refusal_of("generate_dataset", *SMALL, "--num_samples", "9", *HEUN, "--to_uint8",
                                                "edm", "--batch_size", "4")
    assert "made with to_uint8 dmd2, this command has edm" in refusal_of(
        "generate_dataset", *SMALL, "--num_samples", "5", *HEUN, "--images_from", "data", "--output_dir", "other")
    generate("--num_samples", "9", *HEUN)
    assert (pictures().astype(int) != to_uint8(heun_images(9), "dmd2")).mean() < 0.02
    assert info()["to_uint8"] == "dmd2"
    generate("--num_samples", "11", *HEUN)
    assert (pictures().astype(int) != to_uint8(heun_images(11), "dmd2")).mean() < 0.02


def test_A5_sample_grids_of_a_training_are_converted_as_edm_does(tmp_path, monkeypatch):
    from common.diffusion import edm_sampling
    from tools.train_edm.__main__ import EdmTrainOptions
    from tools.train_edm.pictures import draw_samples
    from tools.train_edm.presets import filled

    monkeypatch.setattr(edm_sampling, "sample", lambda *_: torch.full((1, 3, 8, 8), 0.5 / 127.5))
    draw_samples(tmp_path / "grid.png", None, [0], filled(EdmTrainOptions(samples_per_class=1, resolution=64)))
    assert np.asarray(Image.open(tmp_path / "grid.png")).max() == 128
