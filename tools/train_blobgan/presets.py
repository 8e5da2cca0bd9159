"""The presets of train_blobgan: a network and its training. A flag on the command line overrides the preset's value."""

from dataclasses import replace

FLAG = "--preset"
PRESETS = {
    "blobgan40": "40 blobs, 256 x 512: OCTET's blobgan40.yaml",
    "streets": "8 blobs, 32 x 32, a generator of some 100,000 parameters: made streets on one CPU core in minutes",
}
# What every configuration of the original has in common.
BASE = {
    "xflip": True, "n_mlp": 8, "mlp_hidden_dim": 1024, "mlp_lr_mul": 0.01, "noise_dim": 512, "detach_covs": True,
    "channel_multiplier": 2, "generator_channels": [], "discriminator_channels": [], "c_model": 96,
    "lr": 0.002, "lr_fall": 0.0, "eps": 1e-5, "ema_decay": 0.5 ** (32 / 10_000), "D_reg_every": 16,
    "lambda_D_R1": 50.0, "max_steps": 10_000_000, "log_every_n_steps": 200, "log_images_every_n_steps": 1000,
    "every_n_train_steps": 4000, "save_top_k": -1, "monitor": "step", "mode": "auto",
}
VALUES = {
    "blobgan40": {
        **BASE, "resolution": 256, "aspect_ratio": 2.0, "n_features": 40, "dim": 256, "feature_dim": 256, "size_in": 8,
        "batch_size": 10, "feature_jitter_xy": 0.04, "feature_jitter_shift": 0.5, "feature_jitter_angle": 0.1,
    },
    "streets": {
        **BASE, "resolution": 32, "aspect_ratio": 1.0, "n_features": 8, "dim": 32, "feature_dim": 32, "size_in": 8,
        "noise_dim": 32, "mlp_hidden_dim": 64, "mlp_lr_mul": 0.1, "detach_covs": False, "xflip": False,
        "generator_channels": [32, 24, 16], "discriminator_channels": [16, 32, 48, 48], "batch_size": 16, "lr": 0.003,
        "lr_fall": 0.4, "ema_decay": 0.996, "D_reg_every": 4, "lambda_D_R1": 1.0, "max_steps": 800,
        "feature_jitter_xy": 0.0, "feature_jitter_shift": 0.0, "feature_jitter_angle": 0.0, "log_every_n_steps": 20,
        "log_images_every_n_steps": 200, "every_n_train_steps": 200,
    },
}


def filled(options):
    """Return the options with the preset's values where no flag was given (None, or an empty list), and what follows
    from them."""
    values = VALUES[options.preset].items()
    options = replace(options, **{name: value for name, value in values if getattr(options, name) in (None, [])})
    return replace(options, stddev_rows=options.stddev_rows or options.batch_size,
                   override_c_in=options.override_c_in or options.feature_dim)
