"""The original's words and YAML files: every key has a fate, none is swallowed."""

import dataclasses
import re
from pathlib import Path

import pytest

from common.errors import InputError
from common.parser import parse
from tools.train_blobgan.__main__ import TrainOptions, translated
from tools.train_blobgan.experiments import CHECKPOINTS, EXPERIMENTS
from tools.train_blobgan.keys import FATES, KEYS, canonical, table
from tools.train_blobgan.presets import filled
from tools.train_blobgan.words import say_effective

# The published configuration, with what its users add: every key that its documentation names.
EVERY_KEY = """
seed: 0
mode: fit
detect_anomalies: false
logger: false
trainer: {gpus: 1, strategy: ddp, precision: 32, max_steps: 10000000, benchmark: false, deterministic: false,
          profiler: simple, plugins: null, log_every_n_steps: 200, limit_val_batches: 0, accumulate_grad_batches: 1,
          overfit_batches: 0}
dataset:
  dataloader: {batch_size: 10, num_workers: 12, prefetch_factor: 2, pin_memory: true, drop_last: true,
               persistent_workers: true}
  name: ImageFolderDataModule
  category: bdd
  path: digits
checkpoint: {every_n_train_steps: 4000, every_n_epochs: 0, save_top_k: -1, mode: max, monitor: step, save_last: true}
wandb: {offline: false, log_dir: ./logs, project: blobgan, group: blobex, save_code: true, entity: me, name: first,
        id: null}
resume: {id: null, step: null, epoch: null, last: true, best: false, clobber_hparams: false, model_only: false,
         project: "${wandb.project}", log_dir: "${wandb.log_dir}"}
model:
  name: BlobGAN
  lr: 0.002
  dim: 256
  noise_dim: 512
  resolution: 256
  aspect_ratio: 2
  generator: {size_in: 8, c_model: 96, n_mlp: 8, override_c_in: "${model.layout_net.feature_dim}",
              style_dim: "${model.dim}", size: "${model.resolution}"}
  layout_net: {feature_dim: 256, mlp_hidden_dim: 1024, mlp_lr_mul: 0.01, norm_features: true}
  discriminator: {size: "${model.resolution}", aspect_ratio: "${model.aspect_ratio}"}
  n_features_min: 40
  n_features_max: ${.n_features_min}
  spatial_style: true
  D_reg_every: 16
  G_reg_every: -1
  feature_jitter_xy: 0.04
  feature_jitter_shift: 0.5
  feature_jitter_angle: 0.1
  log_images_every_n_steps: 1000
  log_fid_every_n_steps: -1
  log_fid_every_epoch: false
  fid_stats_name: bdd_rect_256
  fid_n_imgs: 50_000
  eps: 1e-5
  n_ema_sample: 4
  ab_norm: 0.02
  accumulate: true
  p_mixing_noise: 0
  feature_splat_temp: 2
  lambda: {D_real: 1, D_fake: 1, G: 1, D_R1: 50, G_path: 2, G_feature_mean: 10, G_feature_variance: 10}
"""
DOCUMENTED = """
seed mode detect_anomalies logger trainer.accumulate_grad_batches trainer.gpus trainer.strategy trainer.precision
trainer.max_steps trainer.benchmark trainer.deterministic trainer.profiler trainer.plugins trainer.log_every_n_steps
trainer.limit_val_batches trainer.overfit_batches dataset.dataloader.batch_size dataset.dataloader.num_workers
dataset.dataloader.workers dataset.dataloader.prefetch_factor dataset.dataloader.pin_memory
dataset.dataloader.drop_last dataset.dataloader.persistent_workers dataset.name dataset.category dataset.path
checkpoint.every_n_train_steps checkpoint.save_top_k checkpoint.mode checkpoint.monitor checkpoint.save_last
wandb.offline wandb.entity wandb.name wandb.group wandb.project wandb.log_dir wandb.save_code wandb.id resume.id
resume.last resume.step resume.epoch resume.best resume.model_only resume.clobber_hparams resume.project
resume.log_dir model.name model.lr model.dim model.noise_dim model.resolution model.aspect_ratio generator.size_in
generator.c_model generator.n_mlp generator.override_c_in layout_net.feature_dim layout_net.mlp_hidden_dim
layout_net.mlp_lr_mul layout_net.norm_features n_features n_features_min n_features_max spatial_style D_reg_every
G_reg_every feature_jitter_xy feature_jitter_shift feature_jitter_angle log_images_every_n_steps fid_stats_name
lambda.D_real lambda.D_fake lambda.G lambda.D_R1 lambda.G_path lambda.G_feature_mean λ.G_feature_variance eps
n_ema_sample ab_norm accumulate log_fid_every_epoch log_fid_every_n_steps fid_n_imgs p_mixing_noise feature_splat_temp
"""
MISSPELT = {
    "no_jiter": "no_jitter", "layoutnet.feature_dim": "layout_net.feature_dim", "sed": "seed", "modle": "mode",
    "loger": "logger", "trainer.gpu": "trainer.gpus", "trainer.max_step": "trainer.max_steps",
    "trainer.strategie": "trainer.strategy", "trainer.accumulate_gradient_batches": "trainer.accumulate_grad_batches",
    "trainer.presicion": "trainer.precision", "trainer.log_every_n_step": "trainer.log_every_n_steps",
    "train.max_steps": "trainer.max_steps", "dataset.dataloader.batchsize": "dataset.dataloader.batch_size",
    "dataset.batch_size": "dataset.dataloader.batch_size", "dataset.dataloader.num_worker":
    "dataset.dataloader.num_workers", "dataset.pth": "dataset.path", "data.path": "dataset.path",
    "checkpoint.every_n_train_step": "checkpoint.every_n_train_steps", "checkpoint.top_k": "checkpoint.save_top_k",
    "checkpoint.monitr": "checkpoint.monitor", "checkpoints.mode": "checkpoint.mode", "wandb.ofline": "wandb.offline",
    "wandb.logdir": "wandb.log_dir", "resume.ids": "resume.id", "resume.modelonly": "resume.model_only",
    "resume.clobber_hparam": "resume.clobber_hparams", "model.learning": "model.lr", "model.noisedim":
    "model.noise_dim", "model.aspectratio": "model.aspect_ratio", "model.layout_net.features_dim":
    "model.layout_net.feature_dim", "model.generator.sizein": "model.generator.size_in",
    "model.generator.override_cin": "model.generator.override_c_in", "model.feature_jitter_x":
    "model.feature_jitter_xy", "model.lambda.D_R2": "model.lambda.D_R1", "feature_jitter_shif":
    "feature_jitter_shift", "model.D_reg_evry": "model.D_reg_every", "fid_stat_name": "fid_stats_name",
}
del MISSPELT["model.learning"]  # nothing is near it


def settled(*words):
    """Return the options of a command's words."""
    words = words if any(word.startswith("dataset.path=") for word in words) else (*words, "dataset.path=digits")
    return parse(TrainOptions, translated(list(words)), "train_blobgan")


def refused(*words):
    with pytest.raises(InputError) as error:
        settled(*words)
    return str(error.value)


def test_every_documented_key_is_a_flag_noted_translated_or_refused():
    assert len({canonical(key) for key in DOCUMENTED.split()}) >= 85
    assert {KEYS[canonical(key)].fate for key in DOCUMENTED.split()} == {*FATES}
    assert {found.fate for found in KEYS.values()} == {*FATES}


def test_every_flag_of_a_key_is_an_option():
    options = {item.name for item in dataclasses.fields(TrainOptions)}
    named = {found.flag for found in KEYS.values() if found.flag} | \
        {flag for found in KEYS.values() for flag in re.findall(r"`--(\w+)", found.text) if "jitter_*" not in flag}
    assert not named - options - {"feature_jitter_"}


def test_every_key_changes_its_option_or_is_noted(capsys):
    values = {"int": "9", "float": "0.25", "bool": None, "str": "word"}
    for key, found in KEYS.items():
        if found.fate == "noted":
            settled(f"{key}=7")
            assert f"{key}=7" in capsys.readouterr().err
        elif found.fate == "flag" and key != "dataset.path":
            item = next(item for item in dataclasses.fields(TrainOptions) if item.name == found.flag)
            kind = re.search(r"int|float|bool|str", str(item.type))[0]
            value = values[kind] or str(not item.default).lower()
            value = (item.metadata.get("choices") or [value])[-1]
            assert getattr(settled(f"{key}={value}"), found.flag) not in (item.default, None), key


def test_a_file_with_every_key_parses_to_the_same_as_the_preset(tmp_path, capsys):
    (tmp_path / "all.yaml").write_text(EVERY_KEY)
    ours, preset = settled("--config", str(tmp_path / "all.yaml")), settled("+experiment=blobgan40")
    assert capsys.readouterr().err.count("note: without a meaning here: ") == 1
    differ = {name for name, value in vars(ours).items() if value != getattr(preset, name)}
    assert differ == {"config", "eps", "wandb_entity", "wandb_name", "resume_log_dir"}


@pytest.mark.parametrize(("key", "near"), MISSPELT.items())
def test_misspelt_keys_are_refused_with_the_nearest(key, near):
    assert f"{key}: unknown key. Did you mean {near}?" in refused(f"{key}=1")
    assert f"Did you mean {near}?" in refused(f"+{key}=1")


def test_misspelt_keys_of_a_file_are_refused_with_its_name(tmp_path):
    (tmp_path / "own.yaml").write_text("model: {layoutnet: {feature_dim: 3}}")
    message = refused("--config", str(tmp_path / "own.yaml"))
    assert "own.yaml: model.layoutnet.feature_dim" in message
    assert "model.layout_net.feature_dim?" in message


@pytest.mark.parametrize("text", [
    "model: {lr: 1}\nlr: 1", "model: {lr: 1}\nmodel.lr: 2", "dataset: {dataloader: {workers: 1, num_workers: 2}}"])
def test_keys_given_by_two_names_in_a_file_are_refused(tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    assert "given twice, by two of its names" in refused("--config", str(tmp_path / "own.yaml"))


@pytest.mark.parametrize(("word", "reason"), [
    ("model={lr: 1, lr: 2}", "the key 'lr' is repeated"), ("model=!!bool 3", "'3'"), ("model=!!timestamp now", "YAML"),
    ("model={[1]: 2}", "unhashable"), ("model=" + "[" * 200, "nested more than 100 deep"), ("model={a: *b}", "alias")])
def test_words_that_are_no_yaml_are_refused_with_the_reason(word, reason):
    message = refused(word)
    assert "not a value as YAML has them" in message
    assert reason in message


def test_words_of_the_original_work_as_they_stand():
    options = settled("+experiment=blobgan40", "wandb.offline=true", "model.lr=0.001", "resume.id=36lxjdji")
    assert (options.lr, options.resume_id, options.wandb_offline) == (0.001, "36lxjdji", True)
    assert options.log_dir == "./logs"
    assert (options.n_features, options.aspect_ratio, options.override_c_in, options.batch_size) == (40, 2, 256, 10)


def test_later_experiments_words_and_flags_win(tmp_path):
    (tmp_path / "own.yaml").write_text("defaults:\n  - blobgan40\n  - override /checkpoint: every_n_train_steps\n"
                                       "  - _self_\nmodel: {lr: 0.5, eps: 0.1, noise_dim: 33}")
    assert settled("+experiment=[blobgan,jitter]").feature_jitter_xy == 0.04
    assert settled("+experiment=[jitter,blobgan]").feature_jitter_xy == 0
    options = settled("--config", str(tmp_path / "own.yaml"), "model.lr=0.4", "model.noise_dim=44", "--lr=0.3")
    assert (options.lr, options.eps, options.noise_dim, options.every_n_train_steps) == (0.3, 0.1, 44, 3000)
    assert settled("--lr", "0.3", "+model.lr=0.4", "++model.eps=0.1").lr == 0.3


def test_references_are_followed_to_presets_words_and_defaults(tmp_path):
    (tmp_path / "own.yaml").write_text("model:\n  dim: ${model.layout_net.feature_dim}\n  noise_dim: ${.dim}\n"
                                       "  layout_net: {mlp_hidden_dim: '${..dim}'}\nwandb: {name: 'd${model.dim}k'}\n")
    options = settled("--config", str(tmp_path / "own.yaml"), "layout_net.feature_dim=64")
    assert (options.dim, options.noise_dim, options.mlp_hidden_dim, options.wandb_name) == (64, 64, 64, "d64k")
    assert settled("model.dim=${model.noise_dim}").dim == 512
    for text, what in (("${model.dim}", "circle"), ("${model.dimm}", "Did you mean model.dim"),
                       ("${oc.env:HOME}", "outside the configuration")):
        (tmp_path / "own.yaml").write_text(f"model: {{dim: '{text}'}}")
        assert what in refused("--config", str(tmp_path / "own.yaml"))


def test_a_file_of_presets_alone_is_one(tmp_path):
    (tmp_path / "own.yaml").write_text("defaults: [{experiment: [bdd, jitter]}, _self_]")
    options = settled("--config", str(tmp_path / "own.yaml"))
    assert (options.n_features, options.feature_jitter_xy) == (20, 0.04)


@pytest.mark.parametrize("text", [
    "defaults: 5", "defaults: true", "defaults: [{'': x}]", "defaults: [{experiment: {a: b}}]", "defaults: [[a]]",
    "defaults: [{experiment: [{a: b}]}]", "experiment: [{a: b}]", "experiment: [[bdd]]", "model: {1: 2}", "model: 5",
    "{5: 6}", "", "[]"])
def test_files_of_another_shape_are_refused(tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    refused("--config", str(tmp_path / "own.yaml"))


def test_references_that_double_without_end_are_refused(tmp_path):
    keys = [f"model.layout_net.{name}" for name in ("noise_dim", "feature_dim", "mlp_hidden_dim")] + \
        [f"wandb.{name}" for name in ("name", "group", "project", "entity", "log_dir", "id")] + \
        [f"resume.{name}" for name in ("id", "step", "epoch", "project", "log_dir")] + ["dataset.path", "model.dim"]
    words = [f"{key}=${{{other}}}${{{other}}}" for key, other in zip(keys, keys[1:])]
    assert "too many" in refused(*words, f"{keys[-1]}=''")


@pytest.mark.parametrize(("words", "what"), [
    (["+experiment=[{a: b}]"], "no preset"), (["+experiment=[[bdd]]"], "no preset"), (["no_jitter=2"], "true or false"),
    (["model.accumulate=2"], "true or false"),
    (["trainer.precision=16"], "not finite in 16 bits"), (["mode=validate"], "only fit"), (["mode=test"], "only fit"),
    (["model.G_reg_every=4"], "path length cannot be had with a spatial style"), (["logger=tensorbord"], "no such"),
    (["model.spatial_style=false"], "only true"), (["model.name=BlobGANInverter"], "train_encoder"),
    (["model.p_mixing_noise=0.9"], "only 0"), (["+experiment=blobgan41"], "Did you mean blobgan40?"),
    (["checkpoint=after_epoch"], "Did you mean after_each_epoch?"), (["~model.lr=1"], "taken out"),
    (["model.n_features_min=5", "model.n_features_max=6"], "differs from model.n_features_max=6"),
    (["trainer.gpus=two"], "whole number"), (["model.lr=fast"], "expected a number"),
    (["+experiment=blobgan40", "layout_net.feature_dim=128"],
     "model.generator.override_c_in=256: differs from model.layout_net.feature_dim=128")])
def test_what_cannot_be_had_is_refused(words, what):
    assert what.lower() in refused(*words).lower()


def test_processes_and_accumulation_become_batch_and_parts(capsys, monkeypatch):
    options = settled("+experiment=blobgan40", "trainer.gpus=2", "trainer.accumulate_grad_batches=4")
    assert (options.batch_size, options.accumulate, options.stddev_rows) == (80, 8, 10)
    assert (options.log_every_n_steps, options.log_images_every_n_steps) == (50, 250)
    assert "torchrun --nproc_per_node 2 -m tools.train_blobgan +experiment=blobgan40 trainer.gpus=2" \
        in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = settled("trainer.gpus=[0,1]", "dataset.dataloader.batch_size=6")
    assert (options.batch_size, options.accumulate, options.stddev_rows) == (12, 1, 6)
    assert not capsys.readouterr().err
    options = settled("+experiment=debug", "trainer.gpus=-1", "--batch_size", "16")
    assert (options.batch_size, options.stddev_rows, options.max_images) == (16, None, 160)


def test_presets_hold_what_is_published():
    for name in EXPERIMENTS:
        assert settled(f"+experiment={name}").data == "digits"
    for name, values in CHECKPOINTS.items():
        options = settled(f"+checkpoint={name}")
        assert options.save_top_k == values["checkpoint.save_top_k"]
    assert settled("+experiment=[debug,blobgan10clevr]").batch_size == 16
    assert settled("+experiment=bdd").override_c_in == 256
    assert settled("+experiment=bdd", "--reference", "x.npz", "model.fid_stats_name=y").fid_stats_name is None
    assert settled("+experiment=blobgan").detach_covs is False
    assert settled("--nodetach_covs", "--xflip").detach_covs is False
    assert settled("+experiment=blobgan", "model.accumulate=false", "no_jitter=true").ema_decay == 0


def test_ids_that_look_like_numbers_keep_their_text():
    assert settled("resume.id=00123456").resume_id == "00123456"
    assert settled("resume.id=1e234567").resume_id == "1e234567"
    assert settled("resume.id=a1b2c3d4", "wandb.id=null").new_run


def test_flags_with_values_that_look_like_words_stay_flags():
    assert parse(TrainOptions, translated(["--data", "lr=3", "model.lr=0.5"]), "train_blobgan").data == "lr=3"


def test_effective_values_are_printed_by_key(capsys):
    say_effective(filled(settled("+experiment=blobgan40", "model.lr=0.001")))
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("model: lr 0.001, eps 1e-05, dim 256, ") for line in lines)
    assert "model.layout_net: feature_dim 256, mlp_hidden_dim 1024, mlp_lr_mul 0.01, norm_features true, " \
           "detach_covs true, mlp_n_layers 8" in lines


def test_effective_values_leave_out_what_another_flag_replaces(capsys):
    say_effective(filled(settled()))
    assert {"c_model 96", "channel_multiplier 2"} <= set(re.split(r"[,:] |\n", capsys.readouterr().err))
    say_effective(filled(settled("--preset", "streets")))
    said = capsys.readouterr().err
    assert "c_model" not in said
    assert "channel_multiplier" not in said
    assert "size_in 8" in said


def test_the_page_has_the_table_of_all_keys():
    page = Path(__file__).parents[3] / "docs" / "train_blobgan_keys.md"
    assert f"\n{table()}\n" in page.read_text()
