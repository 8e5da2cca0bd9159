"""Every key of the original's configuration (`src/run.py` with Hydra), and what becomes of it here.

A key has one of four fates. flag: it is the flag named.  noted: accepted, and named in one note, as it means nothing
here.  translated: its value becomes something else.  refused: any value but the one named ends the command with status
2, as it cannot be had.
"""

from typing import NamedTuple, Optional

from common.errors import InputError

FLAG, NOTED, TRANSLATED, REFUSED = FATES = ("flag", "noted", "translated", "refused")
GROUPS = ("experiment", "checkpoint")  # "+experiment=NAME" takes a preset's keys
LAMBDA = ("lambda", "λ")


class Key(NamedTuple):
    """What becomes of a key; flag: the option that it sets, where it sets one; text: for people."""

    fate: str
    flag: Optional[str]
    text: str


def _flags(section, **names):
    """Return {key: Key} of keys that are flags; names: {last part of the key: the flag's name}."""
    return {f"{section}{name}": Key(FLAG, flag, f"`--{flag}`") for name, flag in names.items()}


def _noted(section, **names):
    return {f"{section}{name}": Key(NOTED, None, text) for name, text in names.items()}


def _same(section, **names):
    """Return {key: Key} of keys whose value must be that of another key."""
    return {f"{section}{name}": Key(TRANSLATED, None, f"must be the value of `{other}`")
            for name, other in names.items()}


SAME = {"dataset.resolution": "model.resolution", "dataset.aspect_ratio": "model.aspect_ratio",
        "model.generator.style_dim": "model.dim", "model.generator.size": "model.resolution",
        "model.generator.aspect_ratio": "model.aspect_ratio", "model.generator.spatial_style": "model.spatial_style",
        "model.layout_net.style_dim": "model.dim", "model.layout_net.noise_dim": "model.noise_dim",
        "model.layout_net.n_features_max": "model.n_features_max", "model.layout_net.spatial_style":
        "model.spatial_style", "model.layout_net.aspect_ratio": "model.aspect_ratio",
        "model.discriminator.size": "model.resolution", "model.discriminator.aspect_ratio": "model.aspect_ratio",
        "model.n_features_min": "model.n_features_max", "model.n_features": "model.n_features_max"}
# Keys of which one value alone is served: (that value, what to say of others).
ONLY = {
    "mode": ("fit", "this command trains; evaluate_cf and compute_fid evaluate"),
    "model.name": ("BlobGAN", "this command trains a BlobGAN; an encoder is trained by train_encoder"),
    "dataset.name": ("ImageFolderDataModule", "images are read from dataset.path"),
    "model.spatial_style": (True, "a style for the whole picture is not trained here"),
    "model.p_mixing_noise": (0, "styles of two noises are not mixed"),
    "model.generator.channel_multiplier": (2, "its channels are set by c_model"),
    "model.generator.name": ("models.networks.layoutstylegan.LayoutStyleGANGenerator", "another generator"),
    "model.layout_net.name": ("models.networks.layoutnet.LayoutGenerator", "another layout network"),
    "model.discriminator.name": ("StyleGANDiscriminator", "another discriminator"),
    "model.feature_splat_temp": (2, "the original does not use it"),
    "model.ab_norm": (0.02, "the size of blobs is that of the published models"),
}
KEYS = {
    **_flags("", seed="seed", detect_anomalies="detect_anomalies"),
    "mode": Key(REFUSED, None, "`fit` alone"),
    "logger": Key(TRANSLATED, "wandb", "`wandb`: `--wandb`; `false`: without"),
    "no_jitter": Key(TRANSLATED, None, "`true`: the three `--feature_jitter_*` are 0"),
    "trainer.gpus": Key(TRANSLATED, None, "that many micro-batches more in a batch; more than there are processes "
                        "prints the torchrun line"),
    "trainer.precision": Key(REFUSED, "precision", "32 and bf16 alone, which are `--precision fp32` and `bf16`; 16 is "
                             "refused"),
    "trainer.accumulate_grad_batches": Key(TRANSLATED, "accumulate", "that many micro-batches more in a batch, "
                                           "`--accumulate` parts; keys of log...every_n_steps are divided by it"),
    "trainer.overfit_batches": Key(TRANSLATED, "max_images", "`--max_images` of so many batches"),
    **_flags("trainer.", max_steps="max_steps", log_every_n_steps="log_every_n_steps"),
    **_noted("trainer.", strategy="processes are started by torchrun", plugins="Lightning's", profiler="Lightning's",
             benchmark="cuDNN's choice of kernels", deterministic="every run is, on a CPU",
             limit_val_batches="there is no pass over validation data"),
    **_flags("dataset.", path="data"),
    "dataset.dataloader.batch_size": Key(TRANSLATED, "batch_size", "times gpus and accumulate_grad_batches: "
                                         "`--batch_size`; it is `--stddev_rows`"),
    **_flags("dataset.dataloader.", num_workers="num_workers"),
    **_noted("dataset.dataloader.", prefetch_factor="batches are drawn ahead by --num_workers threads",
             pin_memory="PyTorch's data loader", drop_last="every batch is full",
             persistent_workers="PyTorch's data loader"),
    **_noted("dataset.", category="a name for people"),
    "dataset.name": Key(REFUSED, None, "`ImageFolderDataModule` alone"),
    **_flags("checkpoint.", every_n_train_steps="every_n_train_steps", every_n_epochs="every_n_epochs",
             save_top_k="save_top_k", monitor="monitor", mode="mode"),
    **_noted("checkpoint.", save_last="the state that a run goes on from is always there"),
    **_flags("wandb.", offline="wandb_offline", entity="wandb_entity", name="wandb_name", group="wandb_group",
             project="wandb_project", log_dir="log_dir"),
    "wandb.id": Key(TRANSLATED, "wandb_id", "`--wandb_id`; null beside `resume.id`: `--new_run`"),
    **_noted("wandb.", save_code="no code is stored"),
    **_flags("resume.", id="resume_id", step="resume_step", epoch="resume_epoch", last="resume_last",
             best="resume_best", model_only="resume_model_only", clobber_hparams="resume_clobber_hparams",
             log_dir="resume_log_dir"),
    **_noted("resume.", project="runs are found by their folder"),
    **_flags("model.", lr="lr", eps="eps", dim="dim", noise_dim="noise_dim", resolution="resolution",
             aspect_ratio="aspect_ratio", n_features_max="n_features", D_reg_every="D_reg_every",
             feature_jitter_xy="feature_jitter_xy", feature_jitter_shift="feature_jitter_shift",
             feature_jitter_angle="feature_jitter_angle", log_images_every_n_steps="log_images_every_n_steps",
             log_fid_every_n_steps="log_fid_every_n_steps", log_fid_every_epoch="log_fid_every_epoch",
             fid_n_imgs="fid_n_imgs", fid_stats_name="fid_stats_name", n_ema_sample="n_ema_sample"),
    **_flags("model.generator.", size_in="size_in", c_model="c_model", override_c_in="override_c_in"),
    **_flags("model.layout_net.", feature_dim="feature_dim", mlp_hidden_dim="mlp_hidden_dim", mlp_lr_mul="mlp_lr_mul",
             norm_features="norm_features", detach_covs="detach_covs", mlp_n_layers="n_mlp"),
    "model.discriminator.channel_multiplier": Key(FLAG, "channel_multiplier", "`--channel_multiplier`"),
    **_noted("model.generator.", n_mlp="layers of a style network, which a spatial style does without",
             lr_mlp="of the same style network"),
    **_same("", **SAME),
    "model.G_reg_every": Key(REFUSED, None, "-1 or 0 alone: path length cannot be had with a spatial style"),
    "model.accumulate": Key(TRANSLATED, "ema_decay", "`false`: `--ema_decay 0`, the average is the live network"),
    **{key: Key(REFUSED, None, f"`{only}` alone") for key, (only, _) in ONLY.items() if key.startswith("model.")},
    **_flags("model.lambda.", D_real="lambda_D_real", D_fake="lambda_D_fake", D_R1="lambda_D_R1", G="lambda_G"),
    **_noted("model.lambda.", G_path="path length is off", G_feature_mean="the original has no such loss",
             G_feature_variance="the original has no such loss"),
}
ALIASES = {  # other spellings that people use
    "dataset.dataloader.workers": "dataset.dataloader.num_workers",
    "dataset.dataloader.prefetch": "dataset.dataloader.prefetch_factor",
    "dataset.dataloader.pin": "dataset.dataloader.pin_memory",
    "dataset.dataloader.persistent": "dataset.dataloader.persistent_workers",
}


def canonical(key, where=None):
    """Return the full name of a key, given with or without its leading `model.`, or as a known other spelling.

    Raises InputError for an unknown one, naming the nearest.
    """
    plain = key.replace("λ", "lambda")
    for name in (plain, f"model.{plain}"):
        if ALIASES.get(name, name) in KEYS:
            return ALIASES.get(name, name)
    raise InputError("unknown key", where=where or key, do=nearest_key(key))


def sections():
    """Return the names of all sections, such as model and model.generator."""
    return {key.rsplit(".", 1)[0] for key in KEYS if "." in key} | {"trainer", "dataset", "model", "wandb"}


def nearest_key(key):
    """Return "Did you mean X?" for the nearest key, or where to find them all."""
    known = [*KEYS, *(name.removeprefix("model.") for name in KEYS if name.startswith("model.")), *GROUPS]
    best = max(known, key=lambda name: (_likeness(key, name), -len(name)))
    if _likeness(key, best) < 0.6:
        return "All keys are listed in docs/train_blobgan_keys.md"
    return f"Did you mean {best}?"


def _likeness(key, name):
    """Return from 0 to 1 how alike two dotted keys are: as a whole, part by part, or in their last part."""
    ours, theirs = key.split("."), name.split(".")
    parts = sum(map(_ratio, ours, theirs)) / len(ours) if len(ours) == len(theirs) else 0
    return max(_ratio(key, name), parts, 0.9 * _ratio(ours[-1], theirs[-1]))


def _ratio(one, other):
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def table():
    """Return the table of all keys and their fates as Markdown."""
    rows = [f"| `{key}` | {found.fate} | {found.text} |" for key, found in KEYS.items()]
    return "\n".join(["| key | fate | here |", "|---|---|---|", *rows])


if __name__ == "__main__":  # the table of docs/train_blobgan_keys.md
    print(table())
