"""generate_blobgan: pictures that depend on weights, seed and number alone, and that their layouts give back."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout_files import NAMES, read_layouts
from common.seeding import unit_generator
from tests.tools.activation_networks import contents
from tests.tools.blobgan_networks import save_blobgan, save_pair
from tests.tools.commands import call_tool, refusal_of, results_of

CPU = ("--device", "cpu")


def generate(*words, out="out"):
    return results_of("generate_blobgan", "g.ckpt", *CPU, "-s", out, *words)


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def test_the_originals_command_writes_its_files():
    """The flags of scripts/load_model.py, with its numbers of four digits."""
    results = generate("-n", 3, "-bs", 2, "-t", 0.4, "--save_blobs", "--label_blobs", "--size_threshold", -3,
                       "-m", "blobgan")
    assert results["num_images"] == 3
    assert (results["image_size"], results["num_blobs"], results["noise"]) == ([16, 32], 4, "seeded")
    for folder in ("imgs", "blobs", "blobs_labeled"):
        names = sorted(path.name for path in Path("out", folder).iterdir())
        assert names == ["0000.png", "0001.png", "0002.png"]
        assert Image.open(f"out/{folder}/0001.png").size == (32, 16)
    assert (pixels("out/blobs/0000.png") != pixels("out/blobs_labeled/0000.png")).any()
    shapes = {"xs": (1, 4), "ys": (1, 4), "sizes": (1, 5), "covs": (1, 4, 4), "features": (1, 5, 5),
              "spatial_style": (1, 5, 6)}
    with np.load("out/layouts/0002.npz") as stored:
        assert {name: stored[name].shape for name in NAMES} == shapes
        assert (str(stored["noise"]), int(stored["seed"]), int(stored["index"])) == ("seeded", 0, 2)


@pytest.mark.parametrize("fixed", [False, True])
def test_a_picture_is_what_the_averaged_networks_give_for_its_draws(fixed):
    generate("-n", 2, "-t", 0.25, "--seed", 5, *(["--fixed_spatial_noise"] if fixed else []))
    model = read_blobgan("g.ckpt")
    z = torch.randn(8, generator=unit_generator(5, "z", 1))[None]
    latent = model.layout_net.latent(z)
    blobs = model.layout_net.decode(0.75 * latent + 0.25 * model.mean_latent())
    noise = None if fixed else model.generator.fresh_noise(unit_generator(5, "noise", 1))
    image = (model.generator(blobs, noise)[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(image.clip(0, 255) - pixels("out/imgs/0001.png")).max() <= 0.501
    (layout,) = read_layouts("out/layouts/0001.npz")
    for ours, expected in zip(layout.blobs, blobs):
        torch.testing.assert_close(ours, expected)
    assert layout.draw == (None if fixed else (5, 1))


def test_overwriting_and_other_runs_leave_a_users_files_beside_the_images():
    generate("-n", 2)
    mine = [Path("out/imgs/mine.png"), Path("out/layouts/notes.txt"), Path("out/imgs/2024_a.png")]
    for path in mine:
        path.write_bytes(b"mine")
    assert generate("-n", 2)["num_images"] == 2
    generate("-n", 1, "--seed", 3, "--overwrite")
    assert [path.read_bytes() for path in mine] == [b"mine"] * 3
    assert not Path("out/imgs/0001.png").exists()
    generate("--layouts", "out/layouts/0000.npz", out="again")
    Path("again/imgs/0007.png").write_bytes(b"mine")
    generate("--layouts", "out/layouts/0000.npz", "--fixed_spatial_noise", "--overwrite", out="again")
    assert Path("again/imgs/0007.png").read_bytes() == b"mine"


def test_a_picture_does_not_depend_on_the_number_or_the_batch():
    generate("-n", 20)
    generate("-n", 3, "--batch_size", 1, out="few")
    for name in ("imgs/0002.png", "layouts/0002.npz"):
        assert Path("few", name).read_bytes() == Path("out", name).read_bytes()
    whole = contents(Path("out"))
    generate("-n", 3, out="out2")
    generate("-n", 20, out="out2")  # more of the same run
    assert contents(Path("out2")) == whole


def test_missing_and_cut_files_are_made_again():
    generate("-n", 5, "--save_blobs")
    before = contents(Path("out"))
    Path("out/imgs/0001.png").unlink()
    Path("out/blobs/0003.png").write_bytes(Path("out/blobs/0003.png").read_bytes()[:-9])
    Path("out/layouts/0004.npz").write_bytes(b"PK")
    generate("-n", 5, "--save_blobs")
    after = contents(Path("out"))
    assert after == before


def test_blob_pictures_can_be_added_later():
    generate("-n", 2)
    before = Path("out/imgs/0001.png").stat().st_mtime_ns
    assert generate("-n", 2, "--save_blobs", "--palette", "bed_conf")["folders"][-1] == "out/blobs"
    assert Path("out/imgs/0001.png").stat().st_mtime_ns == before
    line = refusal_of("generate_blobgan", "g.ckpt", *CPU, "-n", 2, "--save_blobs", "-s", "out")
    assert "has colours of the blobs bed_conf, this command has kld" in line


def test_T35_a_stored_layout_renders_the_same_picture():
    """Its own noise or the fixed one, from one file, a folder of them, or the counterfactual scripts' files."""
    for words, out in (([], "own"), (["--fixed_spatial_noise"], "fixed")):
        generate("-n", 4, *words, out=out)
        generate("--layouts", f"{out}/layouts", out=f"{out}_again")
        generate("--layouts", f"{out}/layouts/0002.npz", out=f"{out}_one")
        for folder, numbers in ((f"{out}_again", range(4)), (f"{out}_one", [2])):
            for number in numbers:
                apart = pixels(f"{folder}/imgs/{number:04d}.png") - pixels(f"{out}/imgs/{number:04d}.png")
                assert np.abs(apart).max() <= 1
    layouts = read_layouts("fixed/layouts")
    rows = {name: torch.cat([getattr(layout.blobs, name) for layout in layouts]) for name in NAMES}
    torch.save({"blob_optim": rows, "image_names": ("a.jpg", "b.jpg", "c.jpg", "d.jpg")}, "metadata_0.pt")
    torch.save({f"{name}.jpg": layout.blobs._asdict() for name, layout in zip("abcd", layouts)}, "all_inversions.pt")
    for place in ("metadata_0.pt", "all_inversions.pt"):
        assert generate("--layouts", place, out=place.removesuffix(".pt"))["noise"] == "fixed"
        for number, name in enumerate("abcd"):
            apart = pixels(f"{place.removesuffix('.pt')}/imgs/{name}.png") - pixels(f"fixed/imgs/{number:04d}.png")
            assert np.abs(apart).max() <= 1


def test_T35_a_picture_that_is_not_finite_is_named_instead_of_drawn_black():
    generate("-n", 2, "--fixed_spatial_noise")
    arrays = dict(np.load("out/layouts/0001.npz"))
    np.savez("large.npz", **{**arrays, "features": np.full_like(arrays["features"], 3e38)})
    words = ("generate_blobgan", "g.ckpt", *CPU, "--layouts", "large.npz", "-s", "new", "--quiet")
    assert "large.npz: the picture of 'large' holds NaN or infinite values" in refusal_of(*words)
    assert not list(Path("new").glob("imgs/*.png"))
    np.savez("large.npz", **{**arrays, "xs": arrays["xs"].astype(np.complex64)})
    assert "'xs' holds no numbers" in refusal_of(*words)


def test_T16_averaged_weights_are_the_default_and_raw_ones_are_asked_for():
    assert generate("-n", 1)["weights"] == "ema"
    assert generate("-n", 1, "--weights", "raw", out="raw")["weights"] == "raw"
    assert (pixels("raw/imgs/0000.png") != pixels("out/imgs/0000.png")).any()
    save_pair(Path("pair.safetensors"))
    results_of("generate_blobgan", "pair.safetensors", *CPU, "-n", 1, "-s", "pair")
    assert np.abs(pixels("pair/imgs/0000.png") - pixels("out/imgs/0000.png")).max() <= 1


def test_full_truncation_gives_one_layout():
    generate("-n", 2, "-t", 1)
    first, second = (read_layouts(f"out/layouts/000{number}.npz")[0].blobs for number in (0, 1))
    torch.testing.assert_close(first, second)
    generate("-n", 2, "-t", 0, out="none")
    first, second = (read_layouts(f"none/layouts/000{number}.npz")[0].blobs for number in (0, 1))
    assert (first.xs - second.xs).abs().max() > 1e-3


def test_another_network_in_the_same_folder_is_refused():
    generate("-n", 1)
    save_blobgan(Path("g.ckpt"), seed=1)
    assert "generator" in refusal_of("generate_blobgan", "g.ckpt", *CPU, "-n", 1, "-s", "out")


@pytest.mark.parametrize(("words", "expected"), [
    (("g.ckpt", "-m", "stylegan"), "--model_name stylegan: only BlobGAN's images are made here. Use generate_ffhq"),
    (("-d", "bed"), "models/bedrooms.ckpt: not there, and nothing is downloaded. Get it from http"),
    (("-d", "kitchen", "-dl", "files"), "files/kitchen_living_dining.ckpt"),
    (("-d", "church"), "--model_data church: no published model of this name"),
    (("g.ckpt", "-d", "bed"), "--model_data: names a published checkpoint, and another one is given"),
    ((), "CHECKPOINT: missing"),
    (("g.ckpt", "-dl", "files"), "--dl_dir: acts on --model_data"),
    (("g.ckpt", "--label_blobs"), "--label_blobs: acts on --save_blobs"),
    (("g.ckpt", "--size_threshold", "0"), "--size_threshold: acts on --label_blobs"),
    (("g.ckpt", "--palette", "kld"), "--palette: acts on --save_blobs"),
    (("g.ckpt", "--layouts", "l", "-n", "3"), "-n: acts on images that are drawn"),
    (("g.ckpt", "--layouts", "l", "--seed", "3"), "--seed: acts on images that are drawn"),
    (("g.ckpt", "-t", "1.5"), "--truncate 1.5: must be from 0 to 1"),
    (("g.ckpt", "--layouts", "nowhere.npz"), "nowhere.npz"),
])
def test_flags_that_cannot_be_are_a_line(words, expected):
    assert expected in refusal_of("generate_blobgan", *words)
    assert not Path("out").exists()


def test_a_published_name_finds_its_file_and_its_colours():
    Path("models").mkdir()
    shutil.copy("g.ckpt", "models/bedrooms.ckpt")
    results_of("generate_blobgan", "-d", "bed", *CPU, "-n", 1, "-s", "bed", "--save_blobs")
    generate("-n", 1, "--save_blobs")
    assert (pixels("bed/imgs/0000.png") == pixels("out/imgs/0000.png")).all()
    assert (pixels("bed/blobs/0000.png") != pixels("out/blobs/0000.png")).any()


def damaged(name):
    with np.load("out/layouts/0000.npz") as stored:
        arrays = dict(stored)
    if name == "rows":
        arrays["sizes"] = arrays["sizes"][:, 1:]
    elif name == "nan":
        arrays["xs"][0, 1] = np.nan
    elif name == "width":
        arrays["features"] = arrays["features"][..., :3]
    elif name == "missing":
        del arrays["covs"]
    elif name == "seed":
        del arrays["seed"]
    np.savez("odd.npz", **arrays)


@pytest.mark.parametrize(("name", "expected"), [
    ("rows", "'sizes' has shape (1, 4), expected (1, 5)"), ("nan", "'xs' holds NaN"),
    ("width", "features and styles of width 3 and 6, the network takes 5 and 6"), ("missing", "'covs'"),
    ("seed", "no whole numbers 'seed' and 'index'")])
def test_layouts_that_cannot_be_rendered_are_a_line(name, expected):
    generate("-n", 1)
    damaged(name)
    assert expected in refusal_of("generate_blobgan", "g.ckpt", *CPU, "--layouts", "odd.npz", "-s", "again")
    assert not Path("again").exists()


def test_given_layouts_are_not_written_over():
    generate("-n", 1)
    line = refusal_of("generate_blobgan", "g.ckpt", *CPU, "--layouts", "out/layouts", "-s", "out")
    assert "out/layouts: this input lies among the outputs" in line


def test_dry_run_says_what_would_be_made_and_writes_nothing():
    ended = call_tool("generate_blobgan", "g.ckpt", *CPU, "-n", 7, "-s", "dry", "--dry_run", "--json")
    assert ended.status == 0
    assert "would generate 7 images of 16 x 32 px" in ended.err
    assert ended.results["num_blobs"] == 4
    assert not Path("dry").exists()
