"""The original's experiment and checkpoint files that can be named as `+experiment=NAME`, `+checkpoint=NAME`.

Keys as in tools/train_blobgan/keys.py; what a file does not say is left to --preset.
"""

from common.errors import InputError, nearest

MODEL = {
    "model.lr": 0.002, "model.noise_dim": 512, "model.resolution": 256, "model.generator.c_model": 96,
    "model.generator.n_mlp": 8, "model.layout_net.mlp_hidden_dim": 1024, "model.layout_net.mlp_lr_mul": 0.01,
    "model.layout_net.norm_features": True, "model.spatial_style": True, "model.D_reg_every": 16,
    "model.G_reg_every": -1, "model.lambda.D_real": 1, "model.lambda.D_fake": 1, "model.lambda.G": 1,
    "model.lambda.D_R1": 50, "model.lambda.G_path": 2, "model.lambda.G_feature_mean": 10,
    "model.lambda.G_feature_variance": 10,
}
JITTER = {"model.feature_jitter_xy": 0.04, "model.feature_jitter_shift": 0.5, "model.feature_jitter_angle": 0.1}
NO_JITTER = dict.fromkeys(JITTER, 0.0)
BLOBGAN40 = {
    **MODEL, **JITTER, "seed": 0, "mode": "fit", "trainer.gpus": 1, "trainer.strategy": "ddp", "trainer.precision": 32,
    "trainer.max_steps": 10_000_000, "trainer.benchmark": False, "trainer.deterministic": False,
    "trainer.profiler": "simple", "trainer.log_every_n_steps": 200, "trainer.limit_val_batches": 0,
    "trainer.accumulate_grad_batches": 1, "dataset.dataloader.batch_size": 10, "dataset.dataloader.num_workers": 12,
    "dataset.dataloader.prefetch_factor": 2, "dataset.dataloader.pin_memory": True,
    "dataset.dataloader.drop_last": True, "dataset.dataloader.persistent_workers": True,
    "dataset.name": "ImageFolderDataModule", "dataset.category": "bdd",
    "checkpoint.every_n_train_steps": 4000, "checkpoint.save_top_k": -1, "checkpoint.mode": "max",
    "checkpoint.monitor": "step", "wandb.offline": False, "wandb.log_dir": "./logs", "wandb.project": "blobgan",
    "wandb.group": "blobex", "wandb.save_code": True, "resume.last": True, "resume.best": False,
    "resume.clobber_hparams": False, "resume.model_only": False, "model.name": "BlobGAN", "model.dim": 256,
    "model.aspect_ratio": 2, "model.generator.size_in": 8, "model.generator.override_c_in": 256,
    "model.layout_net.feature_dim": 256, "model.n_features_max": 40, "model.log_images_every_n_steps": 1000,
    "model.fid_stats_name": "bdd_rect_256",
}
SQUARE = {**MODEL, **NO_JITTER, "model.aspect_ratio": 1, "model.dim": 512, "model.generator.size_in": 16,
          "model.layout_net.detach_covs": False}  # the original, unlike OCTET, trains the blobs' shapes
EXPERIMENTS = {
    "blobgan40": BLOBGAN40,
    "blobgan10clevr": {**BLOBGAN40, "dataset.dataloader.batch_size": 16, "wandb.offline": True,
                       "dataset.category": "clevr"},
    "blobgan": {**SQUARE, "model.n_features_max": 10, "model.layout_net.feature_dim": 768,
                "model.generator.override_c_in": None, "dataset.dataloader.batch_size": 16},
    "bdd": {**SQUARE, "model.n_features_max": 20, "model.layout_net.feature_dim": 256,
            "model.generator.override_c_in": 256},
    "jitter": JITTER,
    "local": {},  # how one machine runs things, which is said by flags here
    "debug": {"dataset.dataloader.batch_size": 4, "trainer.overfit_batches": 20, "logger": False},
}
CHECKPOINTS = {
    "every_n_train_steps": {"checkpoint.every_n_train_steps": 3000, "checkpoint.save_top_k": -1,
                            "checkpoint.mode": "max", "checkpoint.monitor": "step"},
    "every_n_train_steps_fid": {"checkpoint.every_n_train_steps": 10, "checkpoint.save_top_k": -1,
                                "checkpoint.mode": "min", "checkpoint.monitor": "train/fid"},
    "after_each_epoch": {"checkpoint.every_n_epochs": 1, "checkpoint.every_n_train_steps": 0,
                         "checkpoint.save_top_k": 3, "checkpoint.save_last": True},
}
GROUPS = {"experiment": EXPERIMENTS, "checkpoint": CHECKPOINTS}


def groups_of(defaults, where):
    """Return [(group, its presets)] of the list `defaults` of a file; other groups are Hydra's, and left out.

    Raises InputError for anything but a list of names, and of groups with names.
    """
    found = []
    for entry in defaults if isinstance(defaults, list) else [] if defaults is None else [defaults]:
        for group, names in entry.items() if isinstance(entry, dict) else [("experiment", entry)]:
            words = str(group).split("/")[-1].split()
            if not words:
                raise InputError("a group has no name", where=f"{where}: defaults", do="Name it, such as experiment")
            group = words[-1].split("@")[0]
            if group in GROUPS and names not in ("_self_", None):
                found.append((group, names))
    return found


def presets_of(groups):
    """Return {key: value} of [(group, name or list of names)], of which the later win; InputError for unknown names."""
    given = {}
    for group, names in groups:
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str) or name not in GROUPS[group]:
                raise InputError(f"no preset '{name}'", where=group, do=nearest(str(name), GROUPS[group]))
            given |= GROUPS[group][name]
    return given
