"""The command from end to end: resuming, files, FID, splits of work, what it refuses and what it says."""

import json
import os
import signal
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from common import parallel
from common.networks.blobgan.files import read_blobgan
from tests.tools.commands import call_tool, refusal_of, results_of, torchrun_tool
from tests.tools.train_blobgan.runs import TINY, at_steps, log_rows, state, train
from tests.tools.train_edm.runs import contents
from tools.train_blobgan.step import GanStep

SMALL = ("--extractor", "small", "--reference", "digits", "--fid_n_imgs", "40")
FID = (*SMALL, "--log_fid_every_n_steps", "3")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder where the features of the reference are kept for all tests: 1,797 digits."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def here(own_folder, cache, monkeypatch):
    monkeypatch.setenv("GENPROBE_CACHE", str(cache))
    return own_folder


def checkpoints(folder="out"):
    """Return the steps of the checkpoints of a run."""
    return sorted(int(path.stem.rpartition("=")[2]) for path in checkpoint_folder(folder).glob("*.ckpt"))


def checkpoint_folder(folder):
    """Return where a run's checkpoints are."""
    return Path(folder) / "checkpoints"


@pytest.mark.long
def test_T15_killed_after_any_step_it_ends_with_the_same_bytes(monkeypatch):
    words = (*FID, "--every_n_train_steps", "2", "--save_top_k", "1", "--monitor", "train/fid", "--state_every", "1",
             "--log_images_every_n_steps", "5")
    train(*words, out="whole")
    for step in range(1, 12):
        with monkeypatch.context() as patch:
            at_steps(patch, {step}, lambda gan: gan and os.kill(os.getpid(), signal.SIGTERM))
            ended = call_tool("train_blobgan", *TINY, *words, "--output_dir", "cut", "--quiet")
        assert ended.status == 130, ended.err
        assert state("cut")["step"] == step
    train(*words, out="cut")
    assert contents("cut") == contents("whole")
    assert log_rows("cut") == log_rows("whole")


def test_T17_a_step_is_a_batch():
    train("--max_steps", "4", "--every_n_train_steps", "2")
    assert checkpoints() == [2, 4]
    stored = torch.load(next(checkpoint_folder("out").glob("*step=4.ckpt")), weights_only=True)
    assert stored["global_step"] == 4
    assert len(stored["optimizer_states"]) == 2
    assert stored["optimizer_states"][0]["state"][0]["step"] == 4


def test_files_are_read_as_blobgans_and_ema_and_live_weights_differ():
    results = train("--safetensors", "--max_steps", "4", "--every_n_train_steps", "2")
    z = torch.randn(2, 5)
    pictures = {}
    for weights in ("ema", "raw"):
        model = read_blobgan(results["checkpoint"], weights=weights)
        pictures[weights] = model.render(model.layouts(z))
    assert not torch.equal(pictures["ema"], pictures["raw"])
    beside = read_blobgan(results["checkpoint"].replace(".ckpt", ".safetensors"))
    torch.testing.assert_close(beside.render(beside.layouts(z)), pictures["ema"])
    assert model.config.other["transform"] == {"height": 8, "width": 8, "fit": "cover", "filter": "lanczos"}
    assert model.config.feature_jitter_angle == 0.1


@pytest.mark.long
def test_fid_while_training_is_that_of_compute_fid():
    results = train(*FID)
    rows = {row["step"]: row["train/fid"] for row in log_rows() if "train/fid" in row}
    assert sorted(rows) == [3, 6, 9, 12]
    scored = results_of("compute_fid", "fast", results["checkpoint"], "--num_gen", "40", "--reference", "digits",
                        "--extractor", "small", "--device", "cpu")
    assert rows[12] == pytest.approx(scored["frechet_distance"], rel=1e-6)
    assert results["fid"] == rows[12]


def test_the_best_by_fid_and_the_last_stay():
    train(*FID, "--every_n_train_steps", "3", "--save_top_k", "1", "--monitor", "train/fid")
    scores = {row["step"]: row["train/fid"] for row in log_rows() if "train/fid" in row}
    assert checkpoints() == sorted({min(scores, key=scores.get), 12})


def test_statistics_of_another_transform_are_refused(here):
    from common.features.spaces import open_space
    from common.features.statistics import Statistics, write_statistics

    space = open_space("small")
    rows = np.random.default_rng(0).normal(size=(300, space.width)).astype(np.float32)
    (here / "fid_stats").mkdir()
    write_statistics(here / "fid_stats" / "mine_clean_small-features-v1_custom_na.npz", Statistics(features=rows),
                     {**space.meta, "resolution": [64, 64]})
    words = (*TINY, "--extractor", "small", "--fid_stats_name", "MINE", "--log_fid_every_n_steps", "2", "--fid_n_imgs",
             "20", "--max_steps", "2", "--output_dir", "out")
    message = refusal_of("train_blobgan", *words, "--quiet")
    assert "not prepared alike" in message
    assert "--any_stats" in message
    assert not (here / "out").exists()
    ended = call_tool("train_blobgan", *words, "--any_stats", "--json")
    assert ended.status == 0, ended.err
    assert "note: the images were not prepared alike" in ended.err


def test_flags_of_what_is_not_asked_for_are_named(here):
    words = ("--fid_n_imgs", "40", "--D_reg_every", "0", "--lambda_D_R1", "2", "--dry_run")
    said = " ".join(call_tool("train_blobgan", *TINY, *words, "--output_dir", "out").err.split())
    assert "--fid_n_imgs (acts on --log_fid_every_n_steps or --log_fid_every_epoch)" in said
    assert "--lambda_D_R1 (acts on --D_reg_every above 0)" in said


@pytest.mark.parametrize(("words", "said"), [
    (("--log_fid_every_n_steps", "4"), "no statistics to compare with"),
    (("--log_fid_every_n_steps", "4", "--extractor", "small", "--fid_stats_name", "none"), "no statistics 'none'"),
    (("--monitor", "train/fid"), "no FID is measured"),
    (("--monitor", "train/fid", "--mode", "max", *FID), "would keep the worst"),
    (("--override_c_in", "7"), "7 channels, a blob's feature has 4"),
    (("--discriminator_channels", "4"), "1 numbers for the 2 heights 8, 4"),
    (("--wandb",), "pip install wandb")])
def test_what_cannot_be_is_refused_before_anything_is_written(words, said, here):
    assert said in refusal_of("train_blobgan", *TINY, *words, "--output_dir", "out", "--quiet")
    assert not (here / "out").exists()


def test_a_failed_fid_is_an_error(monkeypatch):
    def spoil(gan):
        if gan:
            next(gan.generator.parameters()).data.fill_(1e30)

    at_steps(monkeypatch, {6}, spoil)
    monkeypatch.setattr("tools.train_blobgan.fid.Fid._features", lambda self, numbers: np.full((len(numbers), 128),
                                                                                               np.nan, np.float32))
    ended = call_tool("train_blobgan", *TINY, *FID, "--output_dir", "out", "--quiet")
    assert ended.status == 2
    assert "NaN or infinity" in ended.err


def test_T18_processes_share_the_images_of_a_fid(monkeypatch):
    from tools.train_blobgan.fid import Fid

    taken, right = [], Fid._features
    monkeypatch.setattr(Fid, "_features", lambda self, numbers: taken.extend(numbers) or right(self, numbers))
    monkeypatch.setattr("tools.train_blobgan.fid.together", lambda model: 4)
    train(*SMALL, "--log_fid_every_n_steps", "4", "--max_steps", "4")
    assert taken == list(range(40))
    value = log_rows()[-1]["train/fid"]
    meter, parts = fid_of("out"), []
    for rank in (0, 1):
        taken.clear()
        monkeypatch.setattr(parallel, "world_size", lambda: 2)
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(parallel, "gather_objects", lambda own: parts.append(own) or [own])
        meter(4)
        assert taken == [list(range(20)), list(range(20, 40))][rank]
    monkeypatch.setattr(parallel, "gather_objects", lambda own: parts)
    assert meter(4)["train/fid"] == pytest.approx(value, rel=1e-9)


def test_T18_a_dry_run_encodes_no_reference(monkeypatch, here):
    monkeypatch.setenv("GENPROBE_CACHE", str(here / "cache"))
    np.savez(here / "pictures.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8))
    words = (*FID, "--reference", "pictures.npz")
    ended = call_tool("train_blobgan", *TINY, *words, "--output_dir", "out", "--dry_run")
    assert ended.status == 0, ended.err
    assert not (here / "cache" / "features").exists()
    train(*words, "--max_steps", "3")
    assert (here / "cache" / "features").exists()


def test_T18_the_reference_is_prepared_as_the_training_images_are(here):
    """Pictures that were brought to the network's shape by hand give the same FID."""
    from common.images.squash import SquashOrCrop

    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 14, 3), np.uint8)
    np.savez(here / "pictures.npz", images=pixels)
    words, scores = (*FID, "--aspect_ratio", "2", "--max_steps", "3"), {}
    for fit in ("squash", "cover"):
        rule = SquashOrCrop(8, 16, fit)
        np.savez(here / f"{fit}.npz", images=np.stack([np.asarray(rule(Image.fromarray(one))) for one in pixels]))
        for place in ("pictures", fit):
            train(*words, "--fit", fit, "--reference", f"{place}.npz", out=f"{fit} {place}")
        scores[fit] = [log_rows(f"{fit} {place}")[-1]["train/fid"] for place in ("pictures", fit)]
        assert scores[fit][0] == pytest.approx(scores[fit][1], rel=1e-6)
    assert scores["cover"][0] != pytest.approx(scores["squash"][0], rel=1e-3)


def test_T18_statistics_of_another_fit_are_refused(here):
    np.savez(here / "pictures.npz", images=np.random.default_rng(0).integers(0, 256, (40, 12, 14, 3), np.uint8))
    results_of("setup_fid", "--action", "compute_new", "--path", "pictures.npz", "--name", "d", "--resolution", "8",
               "16", "--fit", "squash", "--extractor", "small", "--device", "cpu")
    words = (*TINY, "--extractor", "small", "--fid_stats_name", "d", "--log_fid_every_n_steps", "6", "--fid_n_imgs",
             "20", "--aspect_ratio", "2", "--max_steps", "1", "--output_dir", "out", "--quiet")
    assert "setup_fid --fit cover" in refusal_of("train_blobgan", *words, "--fit", "cover")
    assert call_tool("train_blobgan", *words).status == 0


def fid_of(folder):
    """Return the Fid of a finished training."""
    from tools.train_blobgan.__main__ import TrainOptions
    from tools.train_blobgan.fid import Fid

    checkpoint = max(checkpoint_folder(folder).glob("*.ckpt"))
    model = read_blobgan(checkpoint)
    options = TrainOptions(data="digits", extractor="small", reference="digits", fid_n_imgs=40)
    meter = Fid(options, model.config, {"generator_ema": model.generator, "layout_net_ema": model.layout_net},
                torch.device("cpu"))
    meter.prepare()
    return meter


def test_T12_compiled_code_never_stands_below_r1(monkeypatch):
    compiled = []

    def compile_it(module):
        compiled.append(type(module).__name__)
        return lambda *values: module(*values)

    monkeypatch.setattr(torch, "compile", compile_it)
    train("--D_reg_every", "1", "--max_steps", "3")
    train("--D_reg_every", "1", "--max_steps", "3", "--compile", out="compiled")
    assert compiled == ["BlobGenerator"]
    for row, other in zip(log_rows("compiled"), log_rows("out")):
        assert row["train/D_R1_unscaled"] == pytest.approx(other["train/D_R1_unscaled"], rel=1e-5)


def test_recomputed_activations_give_the_same_losses():
    train("--max_steps", "3")
    train("--max_steps", "3", "--recompute", out="again")
    for row, other in zip(log_rows("again"), log_rows("out")):
        assert row["train/G"] == pytest.approx(other["train/G"], rel=1e-5)


def test_out_of_memory_names_the_next_number_of_parts(monkeypatch):
    def full(self, part):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(GanStep, "generator_turn", full)
    words = (*TINY, "--stddev_rows", "2", "--output_dir", "out", "--quiet")
    assert "Pass --accumulate 2" in refusal_of("train_blobgan", *words)
    assert "Pass --accumulate 4" in refusal_of("train_blobgan", *words, "--accumulate", "3")
    assert "Pass --recompute" in refusal_of("train_blobgan", *words, "--accumulate", "4")


def test_a_discriminator_that_is_never_wrong_and_pictures_all_alike_are_warned_of(monkeypatch):
    monkeypatch.setattr("tools.train_blobgan.watch.NEVER_WRONG", 4)
    monkeypatch.setattr(GanStep, "judge_fake", lambda self, part: right(self, part, -1))
    monkeypatch.setattr(GanStep, "judge_real", lambda self, part: right(self, part, 1))

    def right(self, part, sign):
        logits = sign * self.discriminator(self.real(part)).square() + sign
        loss = logits.sum() * 0
        return loss, [loss, logits.sum(), torch.tensor(float(len(logits)))]

    monkeypatch.setattr("tools.train_blobgan.loop.spread", lambda pictures: 0.01 if pictures.requires_grad or float(
        pictures.min()) != -1 else 1.0)
    ended = call_tool("train_blobgan", *TINY, "--D_reg_every", "0", "--max_steps", "8", "--output_dir", "out")
    assert ended.status == 0, ended.err
    assert ended.err.count("the discriminator has not been wrong for") == 2
    assert "pictures of different noise are all alike" in ended.err


def test_pictures_of_real_and_generated_images(here):
    train("--log_images_every_n_steps", "2", "--max_steps", "4", "--batch_size", "4", "--noxflip")
    assert sorted(path.name for path in (here / "out" / "samples").iterdir()) == ["step_2.png", "step_4.png"]
    with Image.open(here / "out" / "samples" / "step_4.png") as image:
        assert image.size == (4 * (2 + 2 * 10), 4 * (2 + 4 * 10))  # two pictures of 8 px in four rows, enlarged
    with Image.open(here / "out" / "reals.png") as image:
        assert image.size == (4 * (2 + 4 * 10), 4 * (2 + 10))


def test_the_log_has_every_number_of_the_original():
    train(*SMALL, "--log_fid_every_n_steps", "4", "--max_steps", "4")
    names = ("G", "D_real", "D_fake", "D_R1", "total_loss_G", "total_loss_D", "score_fake", "score_real", "acc_fake",
             "acc_real", "D_R1_unscaled", "coord_spread", "shift_mean", "shift_std", "fid")
    row = json.loads((checkpoint_folder("out").parent / "log.jsonl").read_text().splitlines()[-1])
    assert {f"train/{name}" for name in names} <= set(row)
    assert {"images_per_second", "skipped_steps", "peak_memory_gb"} <= set(row)
    assert row["train/D_R1"] == pytest.approx(0.3 * 4 * row["train/D_R1_unscaled"])


def test_T21_wandb_is_offline_without_a_key_and_goes_on_in_its_run(monkeypatch, here):
    runs, module = [], ModuleType("wandb")

    def init(**settings):
        runs.append(settings)
        return SimpleNamespace(id=settings["id"] or "abc", log=lambda values, step: None, finish=lambda: None)

    module.__spec__ = ModuleSpec("wandb", None, origin="here")
    module.init, module.Error = init, OSError
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(here))
    train("--wandb", "--wandb_project", "blobgan", "--max_steps", "1")
    train("--wandb", "--wandb_project", "blobgan", "--max_steps", "2")
    assert [(run["mode"], run["id"], run["resume"], run["project"]) for run in runs] == [
        ("offline", None, "allow", "blobgan"), ("offline", "abc", "allow", "blobgan")]
    assert [row["step"] for row in log_rows()] == [1, 2]  # our own log is whole without it
    monkeypatch.setenv("WANDB_API_KEY", "key")
    train("--wandb", "--wandb_id", "mine", "--max_steps", "3")
    assert (runs[-1]["mode"], runs[-1]["id"]) == ("online", "mine")


def test_the_dry_run_says_parameters_and_memory(here):
    ended = call_tool("train_blobgan", *TINY, "--output_dir", "out", "--dry_run", "--json")
    assert ended.status == 0
    assert set(ended.results["parameters"]) == {"generator", "layout_net", "discriminator"}
    assert ended.results["memory_bytes"] > 1e8
    assert "expected with 8 images at a time" in ended.err
    assert not (here / "out").exists()


@pytest.mark.long
def test_T18_two_processes_measure_the_same_fid(here):
    train(*FID, out="one")
    ended = torchrun_tool(2, "train_blobgan", *TINY, *FID, "--output_dir", "two", "--quiet")
    assert ended.status == 0, ended.err
    scores = [[row["train/fid"] for row in log_rows(name) if "train/fid" in row] for name in ("one", "two")]
    assert scores[1] == pytest.approx(scores[0], rel=1e-2)  # the losses part, see test_splits
    ended = torchrun_tool(2, "train_blobgan", *TINY, *FID, "--output_dir", "two", "--max_steps", "13")
    assert ended.status == 0, ended.err
    assert ended.err.count("resuming from") == 1
