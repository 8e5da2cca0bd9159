"""generate_ffhq: pictures that depend on weights, seed and number alone, and that their latents give back."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets.degradations import degrade
from common.datasets.latents import find_pairs, read_latents
from common.formats.checkpoints import save_safetensors
from common.networks.stylegan2_weights import load_stylegan2
from common.seeding import unit_generator
from common.style_space import mean_latent, style_statistics
from tests.tools.activation_networks import contents
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.float64_guard import NoFloat64
from tests.tools.interval_networks import DIM, SIDE, generator_state, num_dims, save_generator

BASE = ("--stylegan_path", "g.pt", "--device", "cpu", "--encoder_size", SIDE)


@pytest.fixture(autouse=True)
def here(own_folder):
    save_generator(own_folder / "g.pt")
    return own_folder


def generate(*words, out="data"):
    place = () if {"separate", "calibration"} & {*words} else ("--output_base_dir", out)
    return results_of("generate_ffhq", *BASE, *place, *words)


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("noise", ["stored", "seeded", "none"])
@pytest.mark.parametrize("truncation", [1, 0.7])
def test_latents_regenerate(truncation, noise):
    words = ("--num_images", 20 if (truncation, noise) == (0.7, "seeded") else 6, "--truncation", truncation,
             "--noise", noise, "--resize_factors", "1,4")
    assert generate(*words, "--verify")["verified"] == int(words[1])
    assert generate(*words, "--verify")["verified"] == int(words[1])  # a finished one is compared again
    path = Path("data/generated/1x/latents_00003.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["style_vectors"][0, 17] += 0.01
    np.savez(path, **arrays)
    line = refusal_of("generate_ffhq", *BASE, "--output_base_dir", "data", *words, "--verify")
    assert "1x/latents_00003.npz" in line
    assert "number 17" in line
    assert f"(1 of {2 * int(words[1])} files" in line


def test_wplus_that_was_changed_is_named():
    generate("--num_images", 3)
    path = Path("data/generated/1x/latents_00002.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["wplus"][2, 1] += 0.01
    np.savez(path, **arrays)
    assert "latents_00002.npz" in refusal_of("generate_ffhq", *BASE, "--output_base_dir", "data", "--num_images", 3,
                                             "--verify")
    generate("--num_images", 3, "--overwrite", "--verify")


@pytest.mark.parametrize("noise", ["seeded", "stored"])
def test_noise_seed(noise):
    generate("--num_images", 16, "--noise", noise)
    generate("--num_images", 1, "--first_index", 7, "--noise", noise, out="alone")
    for name in ("img_00007.png", "latents_00007.npz"):
        assert Path("alone/generated/1x", name).read_bytes() == Path("data/generated/1x", name).read_bytes()


def test_a_picture_is_what_the_network_gives_for_its_draws():
    generate("--num_images", 2, "--seed", 5, "--noise", "none", "--truncation", 0.5)
    file, (_, pair) = load_stylegan2("g.pt"), find_pairs("data/generated/1x", need_latents=True)
    latents, network = read_latents(pair.latents, num_dims()), file.network
    z = torch.randn(DIM, generator=unit_generator(5, "z", 2))[None]
    w = file.latent_avg + 0.5 * (network.mapping(z) - file.latent_avg)
    np.testing.assert_allclose(latents.wplus, network.wplus(w)[0], rtol=1e-5, atol=1e-5)
    image = network.synthesise(network.style_vectors(network.wplus(w)), "none")[0].permute(1, 2, 0)
    expected = ((image + 1) * 127.5).clamp(0, 255).numpy()
    assert np.abs(pixels(pair.image) - expected).max() < 0.51
    assert latents.style_vectors.dtype == latents.wplus.dtype == np.float32
    assert latents.record == {"seed": 5, "index": 2, "truncation": 0.5, "resize_factor": 1, "noise": "none",
                              "generator": latents.record["generator"]}
    assert latents.style_dims.tolist() == [0, *network.widths]
    with np.load(pair.latents) as archive:
        assert archive["style_vectors"].shape == (1, num_dims())
        assert archive["style_dims"].dtype == np.int64


def test_truncation_mean_of_ema():
    save_generator(Path("bare.pt"), latent_avg=False)
    words = ("--stylegan_path", "bare.pt", "--num_images", 2, "--truncation", 0)
    assert generate(*words)["centre"] == "mean of 4,096 codes"
    network = load_stylegan2("bare.pt").network
    codes = torch.randn(4096, DIM, generator=unit_generator(0, "latent mean"))
    np.testing.assert_allclose(read_latents("data/generated/1x/latents_00001.npz").wplus[0],
                               mean_latent(network, codes)[0], rtol=1e-5, atol=1e-6)
    assert pixels("data/generated/1x/img_00001.png").tolist() == pixels("data/generated/1x/img_00002.png").tolist()
    assert generate("--truncation", 0.7, out="own")["centre"] == "latent_avg of the checkpoint"
    assert generate("--truncation", 0.7, "--truncation_mean", 100, out="asked")["centre"] == "mean of 100 codes"


def test_the_latent_mean_of_every_row_is_used():
    centre = torch.arange(6.0)[:, None].expand(6, DIM).contiguous()
    state = {**{f"decoder.{name}": tensor for name, tensor in generator_state().items()}}
    torch.save({"state_dict": state, "latent_avg": centre, "opts": {}}, "psp.pt")
    generate("--stylegan_path", "psp.pt", "--truncation", 0, "--num_images", 1)
    assert (read_latents("data/generated/1x/latents_00001.npz").wplus == centre.numpy()).all()


def test_folders_of_factors_hold_what_the_encoder_will_see():
    results = generate("--num_images", 3, "--resize_factors", "1, 4", "8")
    assert results["factors"] == [1, 4, 8]
    for factor in (4, 8):
        for one, other in zip(find_pairs("data/generated/1x"), find_pairs(f"data/generated/{factor}x")):
            assert (pixels(other.image) == degrade(pixels(one.image), factor, SIDE)).all()
            first, second = read_latents(one.latents), read_latents(other.latents)
            assert (first.style_vectors == second.style_vectors).all()
            assert second.record == {**first.record, "resize_factor": factor}
    assert Path("data/generated/preview.png").exists()


def test_a_larger_total_and_a_further_factor_add_files():
    words = ("--num_images", 5, "--resize_factors", "1,4")
    generate(*words, out="once")
    generate("--num_images", 3)
    generate("--num_images", 5)
    before = {path: path.stat().st_mtime_ns for path in Path("data/generated/1x").iterdir()}
    generate("--num_images", 5, "--resize_factors", 4)
    generate(*words)
    assert before == {path: path.stat().st_mtime_ns for path in Path("data/generated/1x").iterdir()}
    assert contents(Path("data")) == contents(Path("once"))
    assert "up to date" in call_tool("generate_ffhq", *BASE, "--output_base_dir", "data", *words).err


@pytest.mark.parametrize(("words", "places"), [
    ((), ["data/generated/1x/img_00001.png", "data/generated/1x/img_00005.png"]),
    (("--first_index", 0), ["data/generated/1x/img_00000.png", "data/generated/1x/img_00004.png"]),
    (("--images_per_folder", 2), ["data/generated/1x/00000/img_00001.png", "data/generated/1x/00002/img_00005.png"]),
    (("--layout", "separate", "--base_dir", "b", "--exp_name", "e"), ["b/e/data/ffhq_generated/img_00005.png"]),
    (("--layout", "separate", "--images_per_folder", 3),
     ["assets/super_resolution/data/ffhq_generated/00001/img_00005.png"]),
    (("--layout", "calibration", "--base_dir", "b", "--resize_factors", "1", "4"),
     [f"b/super_resolution/data/calibration_set_outputs_generated_data/{factor}/img_00005.png" for factor in (1, 4)]),
])
def test_the_documented_trees(words, places):
    results = generate("--num_images", 5, *words)
    for place in places:
        assert Path(place).exists()
        assert Path(place.replace("img_", "latents_").replace(".png", ".npz")).exists()
    for folder in results["folders"]:
        assert len(find_pairs(folder, need_latents=True)) == 5
        assert (Path(folder) / "style_statistics.npz").exists()


def test_images_beside_outputs_leave_them_alone():
    folder = Path("assets/super_resolution/data/calibration_set_outputs_generated_data/1")
    folder.mkdir(parents=True)
    (folder / "outputs.npz").write_bytes(b"another command's")
    (folder / ".outputs.npz.1.part").write_bytes(b"it is being written")
    generate("--layout", "calibration", "--num_images", 2)
    generate("--layout", "calibration", "--num_images", 2, "--seed", 1, "--overwrite")
    assert {path.name for path in folder.glob("*outputs*")} | {".outputs.npz.1.part"} == \
        {"outputs.npz", ".outputs.npz.1.part"}
    assert (folder / ".outputs.npz.1.part").exists()


def test_statistics_are_those_of_mapping_and_affine_layers():
    generate("--num_images", 1, "--latent_stats")
    network = load_stylegan2("g.pt").network
    expected = style_statistics(network, torch.randn(1600, DIM, generator=unit_generator(0, "style statistics")))
    folder = Path("data/generated/1x")
    with np.load(folder / "style_statistics.npz") as archive:
        for name in ("mean", "min", "max", "std"):
            np.testing.assert_allclose(archive[name], getattr(expected, name), rtol=1e-5, atol=1e-6)
        assert (int(archive["num_codes"]), archive["style_dims"].tolist()) == (1600, [0, *network.widths])
        assert archive["latent_avg"].shape == (1, DIM)
        for name in ("mean", "min", "max"):
            assert (np.load(folder / f"{name}_style_space_vector.npy") == archive[name]).all()
            assert (read_latents(folder / "latents_00001.npz").statistics[name] == archive[name]).all()
    assert "num_codes" not in generate("--num_images", 1, "--no_stats", out="bare")
    assert sorted(path.name for path in Path("bare/generated/1x").iterdir()) == ["img_00001.png", "latents_00001.npz"]


def test_a_cut_file_is_made_again():
    generate("--num_images", 4)
    expected = contents(Path("data"))
    for name in ("img_00002.png", "latents_00003.npz"):
        path = Path("data/generated/1x", name)
        path.write_bytes(path.read_bytes()[:-40])
    Path("data/generated/1x/img_00004.png").unlink()
    generate("--num_images", 4)
    assert contents(Path("data")) == expected


def test_the_same_weights_have_one_hash_in_every_container():
    save_safetensors(Path("g.safetensors"), {**generator_state(), "latent_avg": torch.full((DIM,), 0.1)}, {})
    torch.save({"state_dict": {f"decoder.{name}": tensor for name, tensor in generator_state().items()}}, "psp.pt")
    found = {results_of("generate_ffhq", *BASE, "--stylegan_path", path, "--dry_run")["generator"]
             for path in ("g.pt", "g.safetensors", "psp.pt")}
    assert len(found) == 1
    assert {path.name for path in Path.cwd().iterdir()} == {"g.pt", "g.safetensors", "psp.pt"}


def test_what_cannot_be_done_is_refused():
    def refused(*words):
        return refusal_of("generate_ffhq", *BASE, *words)

    with open("ada.pkl", "wb") as stream:
        pickle.dump({"G_ema": "the program of a network"}, stream)
    assert "never run" in refused("--stylegan_path", "ada.pkl")
    assert "no such file" in refused("--stylegan_path", "missing.pt")
    assert "--resize_factors 1 x" not in refused("--resize_factors", "1,x")
    assert "expected whole numbers" in refused("--resize_factors", "1,x")
    assert "given twice" in refused("--resize_factors", "1,1")
    assert "cannot be reduced" in refused("--resize_factors", "3")
    assert "holds one factor" in refused("--layout", "separate", "--resize_factors", "1,4")
    assert not list(Path.cwd().rglob("run.json"))
    generate("--num_images", 2, out="assets/data")
    assert "seed 0" in refused("--num_images", 2, "--seed", 1)
    assert "num_images 2" in refused("--num_images", 1)
    save_generator(Path("other.pt"), seed=1)
    assert "generator" in refused("--num_images", 2, "--stylegan_path", "other.pt")
    Path("old/generated/4x").mkdir(parents=True)
    Path("old/generated/4x/img_00007.png").write_bytes(b"mine")
    assert "in the way" in refused("--output_base_dir", "old", "--resize_factors", "4")


def test_one_factor_in_a_separate_folder():
    words = ("--layout", "separate", "--num_images", 2)
    generate(*words)
    assert "resize factor" in refusal_of("generate_ffhq", *BASE, *words, "--resize_factors", 4)


def test_a_dry_run_writes_nothing():
    ended = call_tool("generate_ffhq", *BASE, "--num_images", 3, "--dry_run")
    assert "would generate 3 images of 16 px into assets/data/generated/1x" in ended.err
    assert [path.name for path in Path.cwd().iterdir()] == ["g.pt"]


def test_mps_has_no_float64():
    from common.device import pick_device
    from tools.generate_ffhq.__main__ import GenerateOptions
    from tools.generate_ffhq.draw import Generation
    from tools.generate_ffhq.generate import open_generator
    from tools.generate_ffhq.layout import Layout

    options = GenerateOptions(stylegan_path="g.pt", truncation=0.7, noise="seeded", truncation_mean=8)
    with NoFloat64():
        generator = open_generator(options, pick_device("cpu"))
        (picture,) = Generation(options, Layout(options), generator, pick_device("cpu")).draw([3])
    assert picture.pixels.shape == (SIDE, SIDE, 3)


def test_the_finished_folder_can_be_moved():
    generate("--num_images", 3)
    shutil.move("data", "elsewhere")
    assert "up to date" in call_tool("generate_ffhq", *BASE, "--num_images", 3, "--output_base_dir", "elsewhere").err


def test_an_image_that_is_not_finite_is_named_and_not_drawn_black(here):
    line = refusal_of("generate_ffhq", *BASE, "--output_base_dir", "data", "--num_images", 2, "--truncation", "1e38")
    assert "image 2 holds NaN or infinite values" in line
    assert not list((here / "data").rglob("*2.png"))


def test_folders_of_another_layout_are_refused():
    assert "--exp_name: acts on another layout than generated" in refusal_of("generate_ffhq", *BASE, "--exp_name", "x")
    assert "--output_base_dir: acts on another layout than separate" in \
        refusal_of("generate_ffhq", *BASE, "--layout", "separate", "--output_base_dir", "x")


def test_what_others_put_beside_the_images_stays():
    generate("--num_images", 1, "--resize_factors", "1,4", out="assets/data")
    mine = Path("assets/data/generated/4x/mine.jpg")
    mine.write_bytes(b"mine")
    generate("--num_images", 2, "--resize_factors", "1,4", "--overwrite", out="assets/data")
    assert mine.read_bytes() == b"mine"
    assert len(list(mine.parent.glob("img_*.png"))) == 2
