"""Every option of every command, by its kind: another result option is refused, a larger total extends, the rest runs.

Made from the option tables themselves, so that a new option cannot be forgotten: one whose kind is not declared counts
as shaping results, and one that claims not to has to stand in the list below with its reason.
"""

import dataclasses
import importlib
import pkgutil
from typing import List, Optional

import pytest

import tools
from common.errors import InputError
from common.job import Job
from common.options import CommonOptions

HOW = {
    "screen": {"overwrite", "dry_run", "json", "quiet", "debug", "tensorboard", "wandb", "use_wandb"},
    "hardware and speed": {
        "device", "num_workers", "n_thread", "batch_size", "bs", "compile", "accumulate", "activation_checkpointing",
        "memory_gb", "cache_gb", "low_memory", "deterministic", "num_divisions", "division_idx", "unpack", "verify",
        "workers", "test_workers", "test_batch_size"},
    "places whose contents are compared": {
        "workdir", "output_dir", "save_folder", "output", "folder", "stats_dir", "data_dir", "path", "input_folder",
        "pair_folder", "mask_path", "options", "checkpoint", "checkpoint_idx", "checkpoint_path", "restore", "weights",
        "config", "set", "preset", "data", "npz_dir", "npz_partial", "imagenet_dir", "lmdb_path", "images_from",
        "scores", "dataset", "split", "encode_dataset", "base_dir", "exp_name", "model_name", "calibration",
        "stylegan_path", "image_dir", "output_base_dir", "output_path", "generated_train_data_path",
        "real_train_data_path", "val_data_path", "exp_dir", "stylegan_weights", "pretrained_model_path",
        "lpips_weights", "id_weights", "blobgan_weights", "perceptual", "decision_weights", "start_weights",
        "dataset_path", "val_path", "save_dir", "layouts", "model_data", "dl_dir", "bddoia", "csv", "images", "val_csv",
        "val_images", "imagenet_weights", "encoder_weights", "decision_model_weights", "segmentation_weights",
        "inversions_path", "inversions", "inv_path", "oracle", "truth", "labels", "folders", "similarity_model",
        "dataset_name", "outputs"},
    "what is shown or kept besides": {
        "log_freq", "log_every", "log_imgs_every", "save_every", "snapshot_every", "sample_every", "preview", "read",
        "calculate", "image_interval", "board_interval", "val_interval", "save_interval", "state_interval",
        "decode", "action", "block", "num", "epoch", "encode", "fidis", "prdc", "meta_info", "lmdb", "no_stats",
        "resize_factors", "png", "save_layouts", "save_blobs", "label_blobs", "palette", "size_threshold"},
    "what another option is made of": {"epochs"},  # steps
    "places, speed and outputs of train_blobgan": {
        "pack", "reference", "fid_weights", "any_stats", "start_weights", "recompute", "fid_batch_size",
        "log_every_n_steps", "log_images_every_n_steps", "n_ema_sample", "state_every", "every_n_train_steps",
        "save_top_k", "monitor", "mode", "safetensors", "log_fid_every_n_steps", "log_fid_every_epoch"},
    "steps that change nothing": {"max_bad_steps", "detect_anomalies"},
    "which run goes on, and its names elsewhere": {
        "log_dir", "resume_id", "resume_step", "resume_epoch", "resume_last", "resume_best", "resume_model_only",
        "resume_clobber_hparams", "resume_log_dir", "start_state", "new_run", "wandb_id", "wandb_offline",
        "wandb_project", "wandb_entity", "wandb_group", "wandb_name", "every_n_epochs"},
    "accepted for old commands": {"dest", "label_dropout", "mixed_precision", "prompt_file", "num_denoising_steps"},
}


SIDES = {"encoder_size", "similarity_size", "size", "imgsize"}  # of pictures, in pixels, given as whole numbers


def test_sides_of_pictures_are_bounded():
    """Pillow takes no side beyond a C int."""
    found = [(table, item) for table in option_tables() for item in dataclasses.fields(table)
             if item.name in SIDES and item.type in (int, Optional[int], List[int])]
    assert {item.name for _, item in found} == SIDES
    for table, item in found:
        assert item.metadata["high"] is not None, f"{table.__name__}: {item.name}"


def option_tables():
    """Return the options dataclasses of all commands."""
    found = {}
    for module in pkgutil.walk_packages(tools.__path__, "tools."):
        loaded = importlib.import_module(module.name)
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, CommonOptions) and value is not CommonOptions:
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return [found[name] for name in sorted(found)]


CASES = [pytest.param(table, item, id=f"{table.__module__}.{table.__name__}-{item.name}")
         for table in option_tables() for item in dataclasses.fields(table)]


def values_of(item):
    """Return two different values of an option, the second larger where it is a number."""
    if item.type is bool:
        return False, True
    if item.type is int or "int" in str(item.type):
        return (1, 2) if "List" not in str(item.type) else ([1], [2])
    if item.type is float or "float" in str(item.type):
        return (0.25, 0.5) if "List" not in str(item.type) else ([0.25], [0.5])
    return ("a", "b") if "List" not in str(item.type) else (["a"], ["b"])


def made(table, item, value):
    """Return options with one value set, those that are required filled in."""
    required = {each.name: values_of(each)[0] for each in dataclasses.fields(table)
                if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING}
    return dataclasses.replace(table(**required), **{item.name: value})


@pytest.mark.parametrize(("table", "item"), CASES)
def test_another_value_is_treated_as_its_kind_says(table, item, tmp_path):
    if item.name in HOW["screen"]:
        return
    first, second = values_of(item)
    job = Job(tmp_path, "made_up", made(table, item, first))
    job.begin()
    job.release()
    again = Job(tmp_path, "made_up", made(table, item, second))
    kind = item.metadata.get("kind", "result")
    if kind == "result":
        with pytest.raises(InputError, match=f"has {item.name} "):
            again.compare()
        return
    assert again.compare() is not None
    if kind == "total":
        again.begin()
        again.release()
        with pytest.raises(InputError, match=f"has {item.name} "):
            Job(tmp_path, "made_up", made(table, item, first)).compare()


@pytest.mark.parametrize(("table", "item"), CASES)
def test_what_is_said_not_to_shape_results_has_a_reason(table, item):
    if item.metadata.get("kind") == "how":
        assert item.name in set().union(*HOW.values()), f"{table.__name__}.{item.name}: why does it not shape results?"
