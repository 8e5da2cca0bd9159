"""Hard inputs, from the command line: no NaN reaches a file, the row is named, the others are untouched."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.networks.blobgan.layout import Blobs
from tests.tools.blobex_inv_cf.runs import WORDS, lines, metadata
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.train_encoder.runs import CONFIG, write_gan

K = CONFIG.n_features
GIVEN = ("--load_inversion", "--inversions_path", "given.pt", "--output_dir", "hard")


def run(*words):
    return results_of("blobex_inv_cf", *WORDS, *words)


def assert_finite(value, where=""):
    """Assert that a file's contents hold nothing that is not finite."""
    if isinstance(value, torch.Tensor):
        assert value.isfinite().all(), where
    elif isinstance(value, float):
        assert np.isfinite(value), where
    elif isinstance(value, dict):
        for key, part in value.items():
            assert_finite(part, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            assert_finite(part, f"{where}.{number}")


def assert_files_are_finite(folder="hard"):
    """Assert it of all metadata and tables of a folder."""
    for path in Path(folder).glob("*.pt"):
        assert_finite(torch.load(path, weights_only=True), path.name)
    for path in Path(folder).glob("*.csv"):
        assert "nan" not in path.read_text().lower()
        assert "inf" not in path.read_text().lower()


def changed(change, name="01.png"):
    """Write the inversions of the finished run with one image's blobs changed."""
    value = torch.load("out/all_inversions.pt", weights_only=True)
    change(value[name])
    torch.save(value, "given.pt")


def other_rows_are_equal(name="01.png"):
    """Assert that all other images end as in the finished run, up to rounding."""
    for row, other in zip(lines("hard"), lines("out"), strict=True):
        if row["image"] != name:
            assert (row["outcome"], row["evaluations"]) == (other["outcome"], other["evaluations"])
            assert float(row["score"]) == pytest.approx(float(other["score"]), abs=1e-4)


def set_all(name, value):
    def change(blobs):
        blobs[name][:] = torch.tensor(value)
    return change


def far_away(blobs):
    blobs["xs"][:, 0], blobs["ys"][:, 0] = -3.0, 5.0


def turned(blobs):
    blobs["covs"][:, 0] = torch.tensor([50.0, -50.0, 0.0, 0.0])
    blobs["covs"][:, 1] = torch.tensor([-50.0, 50.0, 1.0, 0.0])
    blobs["covs"][:, 2] = torch.tensor([50.0, 50.0, 0.0, 0.0])


HARD = {"sizes -100, all blobs masked": set_all("sizes", -100.0), "sizes +100": set_all("sizes", 100.0),
        "a blob at (-3, 5)": far_away, "covariance logits +-50 and a direction (0, 0)": turned}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("free", ["all", "usual"])
def test_extreme_blobs_are_searched_and_harm_no_other(name, free, here):
    changed(HARD[name])
    more = ("--target_features", *Blobs._fields) if free == "all" else ()
    results = run(*GIVEN, *more)
    assert (results["images"], results["not_finite"], results["pairs"]) == (5, 0, 20)
    assert_files_are_finite()
    rows = [row for row in lines("hard") if row["image"] == "01.png"]
    assert len(rows) == 4
    assert {row["outcome"] for row in rows} <= {"flipped", "not_found"}
    if free == "usual":
        other_rows_are_equal()
    start, stored = (Blobs(**metadata(0, "hard")["blob_optim"]), torch.load("given.pt", weights_only=True)["01.png"])
    for part, given in zip(start, stored.values()):
        assert torch.equal(part[1:2], given)


def test_a_blob_outside_the_canvas_does_not_jump_into_it(here):
    changed(far_away)
    run(*GIVEN, "--target_features", "xs", "ys", "--n_iters_cf", "2", "--learning_rate_cf", "0.01", "--sparse", "off")
    for attribute in range(4):
        found = metadata(0, "hard")[f"att_{attribute}"]["blob_cf"]
        assert float(found["xs"][1, 0]) == pytest.approx(-3.0, abs=0.1)
        assert (found["xs"][[0, 2]] >= 0).all()


@pytest.mark.parametrize("how", ["sizes 1e30 and features", "NaN in the blobs"])
def test_a_picture_of_nan_is_named_and_not_searched(how, here):
    def change(blobs):
        if how == "NaN in the blobs":
            blobs["features"][0, 1, 0] = torch.nan
        else:
            blobs["sizes"][:] = 1e30
            blobs["features"][:] = 3e38

    changed(change)
    ended = call_tool("blobex_inv_cf", *WORDS, *GIVEN)
    assert ended.status == 0
    assert "note: 01.png: its blobs or their picture are not finite; it is not searched" in ended.err
    rows = [row for row in lines("hard") if row["image"] == "01.png"]
    assert {(row["outcome"], row["evaluations"]) for row in rows} == {("failed", "0")}
    assert metadata(0, "hard")["genprobe"]["not_finite"] == ["01.png"]
    assert_files_are_finite()
    other_rows_are_equal()
    run(*GIVEN, "--num_diverse", "2", "--n_iters_cf", "5", "--output_dir", "several")
    assert_files_are_finite("several")
    assert sum(row["outcome"] == "failed" for row in lines("several")) == 8


class Poison(torch.nn.Module):
    """A number of a picture that is NaN for bright ones, and so is its derivative."""

    def forward(self, x):
        level = x.mean(dim=(1, 2, 3))
        return torch.stack([3.0 - (0.75 - level).log() - 4.0, level * 20.0], dim=1)


def test_a_search_that_runs_into_nan_keeps_what_it_saw_before(here):
    torch.jit.save(torch.jit.script(Poison()), "poison.pt")
    words = ("--decision_model_weights", "poison.pt", "--objective", "attribute:0", "attribute:1", "--class_names", "a",
             "b", "--lambda_inv_decision_fm", "0", "--n_iters_cf", "40", "--bounds", "off")
    run(*words, "--output_dir", "hard")
    assert_files_are_finite()
    assert {row["outcome"] for row in lines("hard")} <= {"flipped", "not_found", "failed"}


class Constant(torch.nn.Module):
    """Numbers that depend on the picture in its middle alone, where dark."""

    def forward(self, x):
        level = torch.relu(-x.mean(dim=(1, 2, 3)) - 5.0)
        hint = torch.relu(x.abs().amax(dim=(1, 2, 3)) * 1e-12)
        return torch.stack([-1.0 + level + hint * 1e-12, level + hint], dim=1)


def test_T29_an_objective_that_does_not_move_ends_after_its_steps(here):
    torch.jit.save(torch.jit.script(Constant()), "constant.pt")
    run("--decision_model_weights", "constant.pt", "--objective", "attribute:0", "--lambda_inv_decision_fm", "0",
        "--n_iters_cf", "10", "--output_dir", "hard")
    assert {(row["outcome"], row["evaluations"]) for row in lines("hard")} == {("not_found", "11")}
    assert_files_are_finite()


class Exactly(torch.nn.Module):
    """The logit 0, a probability of exactly 1/2, until a picture is brighter or darker than the first one."""

    def forward(self, x):
        level = x.mean(dim=(1, 2, 3))
        return torch.stack([level - level.detach(), level], dim=1)


def test_a_probability_of_exactly_one_half_counts_as_no(here):
    torch.jit.save(torch.jit.script(Exactly()), "exactly.pt")
    run("--decision_model_weights", "exactly.pt", "--objective", "attribute:0", "--lambda_inv_decision_fm", "0",
        "--n_iters_cf", "3", "--output_dir", "hard")
    rows = lines("hard")
    assert {(row["start"], row["target"], row["start_score"]) for row in rows} == {("0", "1", "0.5")}
    assert {(row["outcome"], row["end"]) for row in rows} == {("not_found", "0")}
    run("--decision_model_weights", "exactly.pt", "--objective", "attribute:0", "--lambda_inv_decision_fm", "0",
        "--target", "attribute:0=0", "--n_iters_cf", "3", "--output_dir", "there")
    assert {row["outcome"] for row in lines("there")} == {"already"}


class Saturated(torch.nn.Module):
    """Logits of some 10,000 on either side, which every picture can cross."""

    def forward(self, x):
        level = x.mean(dim=(1, 2, 3)) - x[..., 0].mean(dim=(1, 2))
        return torch.stack([level * 1e5, -level * 1e5], dim=1)


def test_T37_logits_of_ten_thousand_flip(here):
    torch.jit.save(torch.jit.script(Saturated()), "saturated.pt")
    run("--decision_model_weights", "saturated.pt", "--objective", "attribute:0", "attribute:1",
        "--lambda_inv_decision_fm", "0", "--n_iters_cf", "100", "--learning_rate_cf", "1", "--output_dir", "hard")
    rows = lines("hard")
    assert max(abs(float(row["start_logit"])) for row in rows) > 1000
    assert sum(row["outcome"] == "flipped" for row in rows) >= 8
    assert {row["start_score"] for row in rows} <= {"0.0", "1.0"}
    assert_files_are_finite()


def test_T34_a_rate_of_1_ends_no_worse_than_the_encoder(here):
    words = ("--inversion_only", "--n_iters_inv", "30", "--plateau", "0")
    run(*words, "--lr_inv", "1", "--output_dir", "fast")
    run("--inversion_only", "--n_iters_inv", "1", "--lr_inv", "1e-9", "--output_dir", "start")
    for number in (0, 1):
        fast, start = (metadata(number, name)["genprobe"]["inversion"]["objective"] for name in ("fast", "start"))
        assert all(one <= two * (1 + 1e-5) for one, two in zip(fast, start))


def test_T35_a_model_of_fewer_blobs_than_its_layout_network_gives_is_searched_and_evaluated(here):
    write_gan(here / "gan.ckpt", replace(CONFIG, n_features_max=2))
    few = ("--max_images", "2", "--n_iters_cf", "5", "--output_dir")
    run(*few, "few")
    assert metadata(folder="few")["blob_optim"]["xs"].shape == (2, 2)
    results_of("evaluate_cf", "few", "--device", "cpu")
    run(*few, "again", "--load_inversion", "--inversions_path", "few/all_inversions.pt")
    assert "the model has blobs 0 to 1" in refusal_of("blobex_inv_cf", *WORDS, *few, "new", "--target_blob", "2")


def test_T35_blobs_of_other_weights_are_said(here):
    write_gan(here / "gan.ckpt", seed=5)
    words = ("--blobgan_weights", "gan.ckpt", "--device", "cpu", "--output_dir", "new", "--dry_run")
    for tool, *more in (("blobex_inv_cf", *WORDS, "--load_inversion", "--inversions_path", "out/all_inversions.pt"),
                        ("blobex_inv_cf", "blobs", "out/all_inversions.pt"),
                        ("evaluate_cf", "inversion", "--inv_path", "out/all_inversions.pt", "--dataset_path", "val")):
        ended = call_tool(tool, *more, *words)
        assert (ended.status, ended.err.count("made with other weights of a BlobGAN")) == (0, 1)


def test_T38_a_model_with_one_style_for_the_picture_is_refused_where_pictures_are_encoded(here):
    write_gan(here / "gan.ckpt", replace(CONFIG, spatial_style=False, noise_dim=5, n_mlp=2))
    encoder = ("encoder", "--blobgan_weights", "gan.ckpt", "--encoder_weights", "encoder.pt", "--dataset_path", "val")
    for words in (("blobex_inv_cf", *WORDS, "--output_dir", "new"), ("evaluate_cf", *encoder)):
        assert "one style each, which no layout holds" in refusal_of(*words)


def test_an_empty_folder_and_one_without_a_readable_image_are_refused(here):
    (here / "empty").mkdir()
    refusal_of("blobex_inv_cf", *WORDS, "--dataset_path", "empty", "--output_dir", "no")
    (here / "bad").mkdir()
    for name in ("a.png", "b.jpg"):
        (here / "bad" / name).write_bytes(b"no picture")
    refusal_of("blobex_inv_cf", *WORDS, "--dataset_path", "bad", "--output_dir", "no")
    assert not (here / "no").exists()


def test_one_image_is_a_batch_of_one(here):
    results = run("--max_images", "1", "--bs", "16", "--output_dir", "hard")
    assert (results["images"], results["pairs"]) == (1, 4)
    assert metadata(0, "hard")["lpips"].shape == (1,)
    assert_files_are_finite()


def test_unreadable_images_are_named_left_out_and_counted(here):
    shutil.copytree("val", "mixed")
    (here / "mixed" / "01.png").write_bytes(b"no picture")
    (here / "mixed" / "05.png").write_bytes((here / "mixed" / "02.png").read_bytes()[:80])  # a batch of its own
    for number in (3, 4):
        (here / "mixed" / f"{number:02d}.png").write_bytes(b"")
    words = ("--dataset_path", "mixed", "--output_dir", "hard")
    ended = call_tool("blobex_inv_cf", *WORDS, *words)
    assert ended.status == 0
    assert ended.err.count("it is left out") == 4
    assert "left out 4 images" in ended.err
    assert metadata(0, "hard")["image_names"] == ["00.png", "02.png"]
    assert metadata(0, "hard")["genprobe"]["left_out"] == {"01.png": "unreadable"}
    assert metadata(1, "hard")["image_names"] == []
    results = run(*words)
    assert (results["images"], results["left_out"]) == (2, 4)
    assert_files_are_finite()


def test_a_picture_changed_since_its_inversion_is_named_and_left_out(here):
    shutil.copytree("val", "later")
    pixels = np.asarray(Image.open("later/03.png")).copy()
    pixels[:9] = 255 - pixels[:9]
    Image.fromarray(pixels).save("later/03.png")
    words = ("--dataset_path", "later", "--load_inversion", "--inversions_path", "out/all_inversions.pt",
             "--output_dir", "hard")
    ended = call_tool("blobex_inv_cf", *WORDS, *words)
    assert ended.status == 0
    assert "note: 03.png: another picture than the one that was inverted" in ended.err
    assert metadata(1, "hard")["image_names"] == ["04.png"]
    assert metadata(1, "hard")["genprobe"]["left_out"] == {"03.png": "changed"}
    assert {row["image"] for row in lines("hard")} == {"00.png", "01.png", "02.png", "04.png"}
    shutil.copy("out/metadata_1.pt", "given.pt")  # metadata say so, too
    ended = call_tool("blobex_inv_cf", *WORDS, *words[:3], "--inversions_path", "out/metadata_1.pt", "--output_dir",
                      "no", "--dry_run")
    assert "no inversion of '00.png'" in ended.err


def test_any_mode_and_rotation_of_picture_is_brought_to_the_networks_size(here):
    (here / "odd").mkdir()
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8))
    grey.save("odd/grey.png")
    grey.convert("RGBA").save("odd/alpha.png")
    grey.convert("P").resize((200, 17)).save("odd/wide.PNG")
    grey.convert("CMYK").save("odd/print.jpg")
    exif = Image.Exif()
    exif[0x112] = 6
    grey.convert("RGB").save("odd/turned.jpg", exif=exif)
    words = ("--dataset_path", "odd", "--inversion_only", "--output_dir", "hard")
    results = run(*words)
    assert (results["images"], results["left_out"]) == (5, 0)
    shutil.rmtree("hard")
    said = call_tool("blobex_inv_cf", *WORDS, *words, "--n_iters_inv", "1").err  # T14: counted, as in a training
    assert "note: images of odd: of 5 5 resized" in said
    assert "1 not turned as Exif says" in said
