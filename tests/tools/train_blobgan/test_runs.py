"""Run folders as the original has them, and going on with one."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from common.errors import InputError
from common.parser import parse
from tools.train_blobgan.__main__ import OUTPUT_DIR, TrainOptions, cli, translated
from tools.train_blobgan.keys import KEYS
from tools.train_blobgan.presets import VALUES, filled
from tools.train_blobgan.runs import find_run, run_id, settle

TINY = ("--data=photos32", "--preset=streets", "--batch_size=2", "--num_workers=0", "--device=cpu", "--state_every=1",
        "--n_features=3", "--generator_channels", "4", "4", "4", "--discriminator_channels", "4", "4", "4", "4",
        "--dim=4", "--feature_dim=4", "--every_n_train_steps=2", "--D_reg_every=2", "--lr_fall=0", "--quiet")
LR = VALUES["streets"]["lr"]


def run(*words, status=0, tiny=TINY):
    assert cli([*tiny, *words]) == status


def folders(root="logs"):
    return {run_id(path): path / "files" for path in (Path(root) / "wandb").glob("*run-*")}


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run "whole" of four steps and a run "half" of two."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("--log_dir=logs", "wandb.id=whole", "--max_steps=4")
        run("--log_dir=logs", "wandb.id=half", "--max_steps=2")
    return folder


@pytest.fixture
def copied(trained, tmp_path, monkeypatch):
    """A copy of that folder, as the current one."""
    shutil.copytree(trained / "logs", tmp_path / "logs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_training_makes_its_own_folder(copied):
    assert {path.name for path in (folders()["whole"] / "checkpoints").iterdir()} == \
        {"epoch=0-step=2.ckpt", "epoch=0-step=4.ckpt"}
    run("--log_dir=logs", "--max_steps=1")
    new, = folders().keys() - {"whole", "half"}
    assert len(new) == 8
    assert json.loads((folders()[new] / "run.json").read_text())["options"]["lr"] == LR


def test_a_run_folder_has_its_configuration_by_the_originals_keys_and_a_summary(copied):
    files = folders()["whole"]
    config = yaml.safe_load((files / "hydra_config.yaml").read_text())
    assert (config["model"]["lr"], config["trainer"]["precision"], config["mode"]) == (LR, 32, "fit")
    assert (config["model"]["layout_net"]["feature_dim"], config["dataset"]["path"]) == (4, "photos32")
    stored = json.loads((files / "run.json").read_text())
    again = filled(parse(TrainOptions, translated(["--config", str(files / "hydra_config.yaml"), "--quiet"]), "tool"))
    for key, entry in KEYS.items():
        replaced = entry.flag in ("c_model", "channel_multiplier", "ema_decay")  # by flags of ours, or without a key
        if entry.flag and not key.startswith("resume.") and key != "wandb.id" and not replaced:
            assert getattr(again, entry.flag) == stored["options"][entry.flag], key
    total = (files / "model_summary.txt").read_text().splitlines()[-1].split()
    assert total == ["total", f"{sum(stored['results']['parameters'].values()):,}"]


def test_a_run_goes_on_in_its_folder_and_ends_like_an_uninterrupted_one(copied):
    run("resume.id=half", "--max_steps=4", tiny=("--quiet", "--num_workers=0"))
    for name in ("state.pth", "checkpoints/epoch=0-step=4.ckpt"):
        assert (folders()["half"] / name).read_bytes() == (folders()["whole"] / name).read_bytes()
    assert len(folders()) == 2


def test_a_checkpoint_of_an_earlier_step_starts_a_new_run_with_its_moments(copied):
    before = (folders()["whole"] / "state.pth").read_bytes()
    run("resume.id=whole", "resume.last=false", "resume.step=2", "wandb.id=again", "--max_steps=4")
    again = folders()["again"] / "checkpoints" / "epoch=0-step=4.ckpt"
    assert same(weights(again), weights(folders()["whole"] / "checkpoints" / "epoch=0-step=4.ckpt"))
    assert (folders()["whole"] / "state.pth").read_bytes() == before


def test_null_as_id_goes_on_in_a_new_folder(copied):
    run("resume.id=half", "wandb.id=null", "--max_steps=4")
    new, = folders().keys() - {"whole", "half"}
    assert same(weights(folders()[new] / "checkpoints" / "epoch=0-step=4.ckpt"),
                weights(folders()["whole"] / "checkpoints" / "epoch=0-step=4.ckpt"))


def test_weights_alone_start_at_step_0(copied):
    (folders()["half"] / "state.pth").unlink()  # a foreign run has checkpoints alone
    (folders()["half"] / "run.json").unlink()
    run("resume.id=half", status=2)
    run("resume.id=half", "resume.model_only=true", "wandb.id=fine", "--max_steps=2", "--lr=1e-30")
    ours, theirs = (weights(folders()[name] / "checkpoints" / "epoch=0-step=2.ckpt") for name in ("fine", "half"))
    live = [name for name in theirs if "_ema" not in name and ".noises." not in name]
    assert same({name: ours[name] for name in live}, {name: theirs[name] for name in live})
    run("--start_weights", str(folders()["half"] / "checkpoints" / "epoch=0-step=2.ckpt"), "--n_features=4",
        "--output_dir=out", "--max_steps=1", status=2)


def test_a_run_keeps_its_own_options_unless_they_are_clobbered(copied, capsys):
    words = ("resume.id=half", "model.lr=0.001", "--max_steps=3")
    run(*words, tiny=("--num_workers=0",))
    assert f"its own lr {LR} (given: 0.001)" in capsys.readouterr().err
    assert options_of("half")["lr"] == LR
    run(*words[:2], "resume.clobber_hparams=true", "--max_steps=4", tiny=("--num_workers=0", "--quiet"))
    assert options_of("half")["lr"] == 0.001


def options_of(name):
    return json.loads((folders()[name] / "run.json").read_text())["options"]


@pytest.mark.parametrize(("words", "what"), [
    (["resume.id=nothing"], "no run below logs/wandb has this ID; there are run-"),
    (["resume.id=l"], "fits 2 runs below logs/wandb: run-"),
    (["resume.id=half", "resume.step=3"], "no such checkpoint; there are epoch=0-step=2.ckpt"),
    (["resume.id=half", "resume.best=true"], "no FID was measured"),
    (["resume.step=3"], "--resume_step: needs a run to go on with"),
    (["--log_dir=logs", "wandb.id=half"], "a run has this ID"), (["--log_dir=l", "--output_dir=o"], "Choose one")])
def test_runs_that_are_none_or_several_are_refused_with_what_there_is(copied, capsys, words, what):
    run(*words, status=2)
    assert what in " ".join(capsys.readouterr().err.split())
    assert {*folders()} == {"whole", "half"}


def made_run(root, name, files, changed=0):
    for place, file in enumerate(files):
        path = root / "wandb" / name / "files" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.utime(path, ns=(10**9 * (changed + place), 10**9 * (changed + place)))


def test_runs_are_found_by_id_part_of_the_name_and_time(tmp_path):
    made_run(tmp_path, "run-20260101_000000-aaaa1111", ["checkpoints/epoch=0-step=5.ckpt"], changed=50)
    made_run(tmp_path, "offline-run-20260102_000000-bbbb2222", ["state.pth"], changed=10)
    made_run(tmp_path, "run-20260103_000000-1111", ["state.pth"], changed=20)
    assert run_id(find_run(tmp_path / "wandb", "latest_run")) == "aaaa1111"
    assert run_id(find_run(tmp_path / "wandb", "1111")) == "1111"
    assert run_id(find_run(tmp_path / "wandb", "bbbb")) == "bbbb2222"
    with pytest.raises(InputError, match="fits 3 runs"):
        find_run(tmp_path / "wandb", "run-2026")
    with pytest.raises(InputError, match="there are none"):
        find_run(tmp_path, "latest_run")


@pytest.mark.parametrize(("flags", "file"), [
    ({"resume_model_only": True}, "epoch=3-step=9-last.ckpt"), ({"resume_last": False}, "epoch=3-step=9-last.ckpt"),
    ({"resume_step": 4}, "epoch=1-step=4.ckpt"), ({"resume_epoch": 1}, "epoch=1-step=6.ckpt"),
    ({"resume_best": True}, "epoch=1-step=6.ckpt"), ({"resume_epoch": 1, "resume_step": 4}, "epoch=1-step=4.ckpt")])
def test_checkpoints_are_chosen_by_step_epoch_fid_and_time(tmp_path, flags, file):
    names = ["epoch=1-step=6", "epoch=1-step=4", "epoch=3-step=9-last", "epoch=2-step=8"]
    made_run(tmp_path, "run-20260101_000000-aaaa1111", [f"checkpoints/{name}.ckpt" for name in names])
    log = [{"step": 4, "train/fid": 3.0}, {"step": 6, "train/fid": 1.0}, {"step": 7, "train/fid": 0.5},
           {"step": 8, "train/fid": None}]
    (tmp_path / "wandb/run-20260101_000000-aaaa1111/files/log.jsonl").write_text("\n".join(map(json.dumps, log)))
    options, _ = settle(TrainOptions(resume_id="aaaa1111", log_dir=str(tmp_path), **flags), OUTPUT_DIR)
    assert (options.start_weights or options.start_state).endswith(file)
    assert options.output_dir.startswith(f"{tmp_path}/wandb/run-")


def test_processes_beside_the_main_one_do_not_make_up_a_run(tmp_path, monkeypatch):
    made_run(tmp_path, "run-20260101_000000-mine", ["state.pth"])
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    options, _ = settle(TrainOptions(log_dir=str(tmp_path), wandb_id="mine"), OUTPUT_DIR)  # the main one has made it
    assert options.wandb_id == "mine"
    assert options.output_dir != OUTPUT_DIR
