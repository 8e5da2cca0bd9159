"""extract_real_imagenet: the documented tree, every way of feeding and choosing, resumes, and one line for each
mistake."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from common.activations import open_activations
from common.datasets.imagenet.classes import class_index, label_to_class
from common.diffusion.labels import class_vectors
from common.seeding import unit_generator
from tests.common.datasets.imagenet_files import write_batches, write_tree, zip_tree
from tests.tools.activation_networks import contents, save_network
from tests.tools.commands import call_tool, refusal_of, results_of, torchrun_tool

LAYERS = ["encoder_bottleneck", "midblock"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with networks and sources, made once."""
    folder = tmp_path_factory.mktemp("made")
    save_network(folder / "small.safetensors")
    save_network(folder / "full.safetensors", label_dim=1000)
    for form in ("stored", "deflated"):
        write_batches(folder / form, form=form)
    write_tree(folder / "tree")
    zip_tree(folder / "tree", folder / "tree.zip")
    return folder


@pytest.fixture(autouse=True)
def here(own_folder, made, monkeypatch):
    """Each test in a folder of its own with links to what was made."""
    for path in made.iterdir():
        (own_folder / path.name).symlink_to(path)
    monkeypatch.setenv("GENPROBE_CACHE", str(made / "cache"))
    return own_folder


SMALL = ("--checkpoint_path", "small.safetensors", "--npz_dir", "stored", "--class_map", "none", "--device", "cpu")
FULL = ("--checkpoint_path", "full.safetensors", "--device", "cpu")


def extract(*words, out="data"):
    return results_of("extract_real_imagenet", *SMALL, "--batch_size", "5", "--output_dir", out, *words)


def info(out="data"):
    return json.loads(open(f"{out}/metadata/imagenet_real/dataset_info.json").read())


def network(name="small"):
    from common.networks.adm_weights import load_adm

    return load_adm(f"{name}.safetensors")


def test_the_tree_and_its_values(here, made):
    results = extract("--num_samples", "12")
    assert results["num_samples"] == 12
    pixels, labels = write_batches(here / "again")
    order = np.random.RandomState(10).permutation(18)[:12]
    told = info()
    assert [sample["original_path"] for sample in told["samples"]] == [f"npz_sample_{number}" for number in order]
    assert [sample["class_label"] for sample in told["samples"]] == (labels[order] - 1).tolist()
    x = torch.from_numpy(pixels[order]).float() / 127.5 - 1
    denoised, outputs = network().run(80 * x, 80.0, class_vectors(labels[order] - 1, 4), layers=LAYERS)
    activations = open_activations("data", "imagenet_real")
    for layer in LAYERS:
        torch.testing.assert_close(torch.from_numpy(activations.rows(layer)[:]), outputs[layer].flatten(1), rtol=1e-4,
                                   atol=1e-5)
    stored = np.asarray(Image.open("data/images/imagenet_real/sample_000003.png"))
    np.testing.assert_array_equal(stored, pixels[order[3]].transpose(1, 2, 0))
    again = np.asarray(Image.open(f"data/{told['samples'][3]['reconstructed_path']}")).astype(int)
    assert np.abs(again - ((denoised[3].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()).max() <= 1.01
    batch = json.loads(open("data/activations/imagenet_real/batch_000002.json").read())
    assert (batch["batch_size"], len(batch["samples"]), batch["layers"]) == (2, 2, LAYERS)
    assert extract("--num_samples", "12") == results


def test_labels_of_the_published_sets_become_the_networks_classes(made):
    results_of("extract_real_imagenet", *FULL, "--npz_dir", "stored", "--num_samples", "18")
    labels = [label for _, label in sorted(zip(np.random.RandomState(10).permutation(18), range(18)))]
    told = info()
    stored = write_batches(made / "same")[1]
    for number, place in enumerate(labels):
        sample = told["samples"][place]
        assert sample["class_label"] == int(label_to_class(stored[number]))
        assert [sample["synset_id"], sample["class_name"]] == class_index()[str(sample["class_label"])]


@pytest.mark.parametrize("mode", ["scale", "noise", "clean"])
@pytest.mark.parametrize("labels", ["own", "none", "uniform"])
def test_ways_of_feeding(mode, labels, here):
    extract("--num_samples", "4", "--input_mode", mode, "--label_mode", labels, "--conditioning_sigma", "0.5",
            "--noreconstructions",
            "--images", "none", "--format", "npy")
    pixels, classes = write_batches(here / "again")
    order = np.random.RandomState(10).permutation(18)[:4]
    x = torch.from_numpy(pixels[order]).float() / 127.5 - 1
    if mode == "noise":
        x = x + 0.5 * torch.stack([torch.randn(x.shape[1:], generator=unit_generator(10, "input_noise", int(n)))
                                   for n in order])
    x = 0.5 * x if mode == "scale" else x
    given = {"own": class_vectors(classes[order] - 1, 4), "none": None, "uniform": torch.full((4, 4), 0.25)}[labels]
    outputs = network().run(x, 0.5, given, layers=LAYERS, image=False)[1]
    rows = open_activations("data", "imagenet_real").rows()
    expected = torch.cat([outputs[layer].flatten(1) for layer in LAYERS], dim=1)
    torch.testing.assert_close(torch.from_numpy(rows[:]), expected, rtol=1e-4, atol=1e-5)
    assert not (here / "data" / "images").exists()


def test_pooling_and_dtype():
    extract("--num_samples", "6", "--noreconstructions")
    whole = open_activations("data", "imagenet_real").rows("midblock")[:].reshape(6, 64, -1)
    for form in ("npz", "npy"):
        for pool, expected in (("mean", whole.mean(2)), ("meanmax", np.hstack([whole.mean(2), whole.max(2)]))):
            out = f"{form}_{pool}"
            extract("--num_samples", "6", "--noreconstructions", "--pool", pool, "--dtype", "float16", "--format", form,
                    out=out)
            np.testing.assert_allclose(open_activations(out, "imagenet_real").rows("midblock")[:], expected, rtol=2e-3,
                                       atol=2e-3)


def test_forms_sources_and_batch_sizes_agree():
    extract("--num_samples", "13")
    expected = open_activations("data", "imagenet_real")
    variants = {"fast": ("--format", "npy"), "packed": ("--npz_dir", "deflated"), "batches": ("--batch_size", "3"),
                "files": ("--samples_per_file", "4")}
    for out, words in variants.items():
        extract("--num_samples", "13", *words, out=out)
        found = open_activations(out, "imagenet_real")
        np.testing.assert_allclose(found.rows()[:], expected.rows()[:], rtol=1e-4, atol=1e-5)
        same = ("sample_id", "class_label", "original_path", "image_path")
        assert [[record[key] for key in same]
                for record in found.records] == [[record[key] for key in same] for record in expected.records]
    assert contents_without_json("packed") == contents_without_json("data")


def contents_without_json(out):
    from pathlib import Path

    return {name: data for name, data in contents(Path(out)).items() if not name.startswith("metadata")}


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_a_larger_number_extends_and_gives_the_bytes_of_one_run(form, here):
    words = ("--format", form, "--samples_per_file", "4")
    extract("--num_samples", "6", *words)
    extract("--num_samples", "17", *words)
    extract("--num_samples", "17", *words, out="whole")
    assert contents(here / "data") == contents(here / "whole")
    assert "num_samples" in refusal_of("extract_real_imagenet", *SMALL, *words, "--num_samples", "5")


def test_another_way_of_feeding_is_another_job():
    extract("--num_samples", "3")
    assert "conditioning_sigma" in refusal_of("extract_real_imagenet", *SMALL, "--num_samples", "3",
                                              "--conditioning_sigma", "1")
    shutil.copytree("data", "kept")
    extract("--num_samples", "3", "--conditioning_sigma", "1", "--overwrite")
    assert info()["conditioning_sigma"] == 1
    assert "checkpoint" in refusal_of("extract_real_imagenet", *SMALL, "--num_samples", "3", "--output_dir", "kept",
                                      "--checkpoint_path", "full.safetensors")


def test_outputs_of_another_program_are_not_touched(here):
    extract("--num_samples", "3")
    (here / "data" / "metadata" / "imagenet_real" / "run.json").unlink()
    before = contents(here / "data")
    assert "no record says" in refusal_of("extract_real_imagenet", *SMALL, "--num_samples", "3")
    assert "no record says" in refusal_of("extract_real_imagenet", *SMALL, "--num_samples", "4", "--overwrite")
    assert contents(here / "data") == before


def test_selections():
    results = extract("--num_samples", "8", "--class_balanced", "--target_classes", "0,2", "--order", "storage",
                      "--batch_size", "64")
    kinds = [sample["class_label"] for sample in info()["samples"]]
    assert sorted(set(kinds)) == [0, 2]
    assert results["short_classes"] or kinds.count(0) == kinds.count(2) == 4
    numbers = [int(sample["original_path"].split("_")[-1]) for sample in info()["samples"]]
    assert numbers == sorted(numbers)
    extract("--num_samples", "18", "--num_classes", "2", out="drawn")
    drawn = sorted(np.random.RandomState(10).choice(4, 2, replace=False).tolist())
    assert sorted({sample["class_label"] for sample in info("drawn")["samples"]}) == drawn


def test_percentiles_of_scores(here):
    (here / "scores.csv").write_text("original_path,score\n"
                                     + "".join(f"npz_sample_{number},{number}\n" for number in range(18)))
    extract("--scores", "scores.csv", "--percentiles", "0", "25")
    assert sorted(int(sample["original_path"].split("_")[-1]) for sample in info()["samples"]) == [0, 1, 2, 3, 4]
    (here / "scores.csv").write_text("index,score\n1,2\n0,3\n1,4\n")
    assert "line 4: a second score of 1." in refusal_of("extract_real_imagenet", *SMALL, "--scores", "scores.csv",
                                                        "--percentiles", "0", "25", "--output_dir", "twice")
    (here / "scores.csv").write_text("original_path,other\nnpz_sample_1,2\n")
    assert "no column 'score'" in refusal_of("extract_real_imagenet", *SMALL, "--scores", "scores.csv", "--percentiles",
                                             "0", "25",
                                             "--output_dir", "x")


def test_percentiles_of_denoising_errors(here):
    extract("--scores", "denoise", "--score_sigma", "0.7", "--percentiles", "0", "50", "--label_mode", "none")
    pixels, _ = write_batches(here / "again")
    x = torch.from_numpy(pixels).float() / 127.5 - 1
    noise = torch.stack([torch.randn(x.shape[1:], generator=unit_generator(10, "score_noise", number))
                         for number in range(18)])
    errors = (network()(x + 0.7 * noise, 0.7) - x).square().flatten(1).mean(dim=1).numpy()
    told = {int(sample["original_path"].split("_")[-1]): sample["score"] for sample in info()["samples"]}
    assert sorted(told) == sorted(np.argsort(errors)[:9])
    np.testing.assert_allclose([told[number] for number in sorted(told)], errors[sorted(told)], rtol=1e-4)


@pytest.mark.parametrize("source", ["tree", "tree.zip"])
@pytest.mark.parametrize("form", ["npz", "npy"])
def test_pictures_of_a_tree_and_a_broken_one(source, form):
    ended = call_tool("extract_real_imagenet", *FULL, "--imagenet_dir", source, "--json", "--batch_size", "4",
                      "--format", form)
    assert ended.status == 0, ended.err
    assert (ended.results["num_samples"], ended.results["left_out"]) == (5, 1)
    assert "broken.JPEG" in ended.err
    told = info()
    assert told["left_out"][0][0] == "val/n03255030/broken.JPEG"
    order = list(range(6))
    np.random.RandomState(10).shuffle(order)
    assert open_activations("data", "imagenet_real").rows().shape == (5, 2048)
    names = sorted(["n01440764/a.JPEG", "n01440764/b.jpg", "n02119789/c.JPEG", "n02119789/d.png",
                    "n03255030/broken.JPEG",
                    "n03255030/e.JPEG"])
    expected = [f"val/{names[number]}" for number in order if "broken" not in names[number]]
    assert [sample["original_path"] for sample in told["samples"]] == expected
    for sample in told["samples"]:
        assert Image.open(f"data/{sample['image_path']}").mode == "RGB"
    again = call_tool("extract_real_imagenet", *FULL, "--imagenet_dir", source, "--json", "--batch_size", "4",
                      "--format", form)
    assert again.results == ended.results


REFUSED = {
    "Either --imagenet_dir or --npz_dir must be provided": (*FULL,),
    "Cannot use both --imagenet_dir and --npz_dir": (*FULL, "--npz_dir", "stored", "--imagenet_dir", "tree"),
    "unknown layer 'bottleneck'": (*SMALL, "--layers", "bottleneck,midblock"),
    "expected at least one layer": (*SMALL, "--layers", ","),
    "class 278 is out of range for a network of 4": (*SMALL, "--class_map", "imagenet", "--target_classes", "kit_fox"),
    "Use 0 .. 3": (*SMALL, "--target_classes", "4"),
    "there are 4 classes": (*SMALL, "--num_classes", "5"),
    "Cannot use both --num_classes": (*SMALL, "--num_classes", "2", "--target_classes", "1"),
    "No NPZ files found": (*FULL, "--npz_dir", "tree"),
    "split directory not found": (*FULL, "--imagenet_dir", "tree", "--split", "train"),
    "no such file": (*SMALL, "--checkpoint_path", "none.pth"),
    "not a class map": (*SMALL, "--class_map", "wrong.json"),
    "a map of 3 labels": (*SMALL, "--class_map", "short.json"),
    "not a class index": (*SMALL, "--class_map", "index.json"),
    "must be imagenet, none": (*SMALL, "--class_map", "sorted"),
    "--percentiles and --scores go together": (*SMALL, "--percentiles", "10", "20"),
    "two percentiles from 0 to 100": (*SMALL, "--scores", "none.csv", "--percentiles", "25", "0"),  # before the scores
    "must be at least 1": (*SMALL, "--batch_size", "0"),
    "--score_sigma: acts on --scores denoise": (*SMALL, "--score_sigma", "2"),
    "--percentile_scope: acts on --percentiles": (*SMALL, "--percentile_scope", "class"),
    "--preprocess: acts on image files, which are not read here": (*SMALL, "--preprocess", "box"),
    "--npz_partial: acts on folders of npz batches": (*FULL, "--imagenet_dir", "tree", "--npz_partial"),
    "box resizing needs a multiple of 12": (*SMALL, "--checkpoint_path", "twelve.safetensors"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_mistakes_take_one_line_and_write_nothing(what, here):
    (here / "wrong.json").write_text("[0, 1, 1, 2]")
    (here / "short.json").write_text("[0, 1, 2]")
    (here / "index.json").write_text('{"0": ["n99999999", "nothing"]}')
    if "twelve" in str(REFUSED[what]):
        save_network(here / "twelve.safetensors", img_resolution=12)
    assert what in refusal_of("extract_real_imagenet", *REFUSED[what])
    assert not (here / "data").exists()


def test_a_truncated_file_is_named(here, made):
    shutil.copytree(made / "stored", here / "cut")
    path = here / "cut" / "train_data_batch_2.npz"
    path.write_bytes(path.read_bytes()[:-200])
    assert "train_data_batch_2.npz" in refusal_of("extract_real_imagenet", *SMALL, "--npz_dir", "cut")


def test_a_dry_run_writes_nothing(here):
    results_of("extract_real_imagenet", *SMALL, "--conditioning_sigma", "0", "--input_mode", "clean", "--dry_run")
    assert not (here / "data").exists()


@pytest.mark.parametrize("mode", [(), ("--input_mode", "noise"), ("--input_mode", "clean")])
def test_sigma_zero_of_the_users_command_is_the_clean_image(here, mode):
    ended = call_tool("extract_real_imagenet", *SMALL, "--num_samples", "4", "--conditioning_sigma", "0.0", *mode)
    assert ended.status == 0, ended.err
    assert ("fed at the lowest level of the training, 0.002" in ended.err) == ("clean" not in mode)
    assert (info()["conditioning_sigma"], info()["sigma_fed"], info()["input_mode"]) == (0.0, 0.002, "clean")
    rows = open_activations("data", "imagenet_real").rows()[:]
    assert np.isfinite(rows).all()
    extract("--num_samples", "4", "--conditioning_sigma", "0.002", "--input_mode", "clean", "--output_dir", "other")
    np.testing.assert_array_equal(rows, open_activations("other", "imagenet_real").rows()[:])


def test_the_layers_of_a_batch_stand_in_the_order_asked_for(here):
    names = ["decoder_block_1", "encoder_bottleneck", "encoder_block_0"]
    extract("--num_samples", "2", "--layers", ",".join(names))
    batch = json.loads((here / "data" / "activations" / "imagenet_real" / "batch_000000.json").read_text())
    assert batch["layers"] == info()["layers"] == names


def test_larger_arrays_are_brought_to_the_networks_size(here):
    write_batches(here / "large", side=16)
    extract("--npz_dir", "large", "--num_samples", "3")
    assert Image.open("data/images/imagenet_real/sample_000000.png").size == (16, 16)
    assert Image.open("data/images/imagenet_real_reconstructed/sample_000000.png").size == (8, 8)


def test_values_that_are_not_finite_fail_loudly(here):
    from common.networks.adm_weights import save_adm
    from tests.common.networks.adm_makers import small_network

    broken = small_network()
    torch.nn.init.constant_(broken.model.map_layer1.bias, 1e38)
    save_adm(here / "broken.safetensors", broken)
    assert "NaN or infinity" in refusal_of("extract_real_imagenet", *SMALL, "--checkpoint_path", "broken.safetensors")


@pytest.mark.long
def test_two_processes_give_the_bytes_of_one(here):
    words = ("--batch_size", "4", "--num_samples", "18", "--npz_dir", "deflated")
    extract(*words, out="one")
    ended = torchrun_tool(2, "extract_real_imagenet", *SMALL, *words, "--output_dir", "two", "--quiet")
    assert ended.status == 0, ended.err
    assert contents(here / "one") == contents(here / "two")
