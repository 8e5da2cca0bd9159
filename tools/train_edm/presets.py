"""The presets of train_edm: a network and its training. A flag on the command line overrides the preset's value."""

from dataclasses import replace

FLAG = "--preset"
PRESETS = {
    "small32": "32x32, 0.8 million parameters: recognisable samples after 90 s on one CPU core",
    "imagenet64": "ImageNet-64 as trained by EDM: 64x64, 296 million parameters, 2,500 million images (no --xflip, "
                  "float16 there)",
}
# At 16 images a step, a half-life of 2.21 kimg is a decay of .995, and a ramp-up of .077 follows (1 + i) / (10 + i).
VALUES = {
    "small32": {
        "resolution": 32, "model_channels": 16, "channel_mult": [1, 1, 2, 4], "channel_mult_emb": 4, "num_blocks": 1,
        "attn_resolutions": [8], "dropout": 0.0, "batch_size": 16, "steps": 730, "lr": 4e-3, "warmup": 30,
        "lr_decay": "cosine", "beta2": 0.99, "adam_eps": 1e-8, "ema_halflife_kimg": 2.21, "ema_rampup_ratio": 0.077,
        "sample_steps": 10, "sample_sigma_max": 20.0, "sample_sigma_min": 0.01,
    },
    # NVlabs/edm, README: --arch=adm --duration=2500 --batch=4096 --lr=1e-4 --ema=50 --dropout=0.10 --augment=0, and the
    # defaults of its train.py: a warm-up over 10 million images, Adam's betas .9 and .999. Its eps of 1e-8 belongs to
    # a loss summed over 12,288 values and scaled by 100, ours to their mean.
    "imagenet64": {
        "resolution": 64, "model_channels": 192, "channel_mult": [1, 2, 3, 4], "channel_mult_emb": 4, "num_blocks": 3,
        "attn_resolutions": [32, 16, 8], "dropout": 0.10, "batch_size": 4096, "steps": 610_352, "lr": 1e-4,
        "warmup": 2441,
        "lr_decay": "none", "beta2": 0.999, "adam_eps": 1e-14, "ema_halflife_kimg": 50_000.0, "ema_rampup_ratio": 0.05,
        "sample_steps": 18, "sample_sigma_max": 80.0, "sample_sigma_min": 0.002,
    },
}


def filled(options):
    """Return the options with the preset's values where no flag was given (None, or an empty list)."""
    values = VALUES[options.preset].items()
    return replace(options, **{name: value for name, value in values if getattr(options, name) in (None, [])})
