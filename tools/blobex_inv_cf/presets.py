"""The presets of blobex_inv_cf. A flag on the command line overrides the preset's value."""

from dataclasses import replace

FLAG = "--preset"
PRESETS = {
    "rect": "256 x 512: sizes, features and styles are free, early stop, sparse",
    "square": "256 x 256: the same, the decision keeps less weight in the inversion",
    "streets": "the made streets of the demo: 32 x 32, larger steps, fewer iterations",
    "published": "as the original: styles alone, a fixed number of steps, the blobs after the last one",
}
OURS = {
    "init": "encoder", "n_iters_inv": 400, "lr_inv": 0.02, "halve_inv_every": 100, "plateau": 50, "coarse": 0,
    "lambda_inv_lpips": 1.0, "lambda_inv_l2": 0.1, "lambda_inv_decision_fm": 0.1, "lambda_inv_latent_prox": 0.1,
    "keep": "best", "learning_rate_cf": 0.08, "lambda_prox_cf": 0.0, "lambda_prox": ["spatial_style=1"],
    "n_iters_cf": 100, "early_stop": "on", "margin": 4.0, "patience": 3, "bounds": "on",
    "target_features": ["sizes", "features", "spatial_style"], "sparse": "blobs", "sparse_margin": 4.0,
}
DIVERSE = {"margin": 3.0, "sparse": "off"}
VALUES = {
    "rect": OURS,
    "square": {**OURS, "lambda_inv_l2": 1.0},
    "streets": {**OURS, "n_iters_inv": 100, "lr_inv": 0.04, "halve_inv_every": 25, "plateau": 25,
                "lambda_inv_l2": 1.0, "learning_rate_cf": 0.24, "margin": 8.0},
    "published": {**OURS, "plateau": 0, "keep": "last", "early_stop": "off", "bounds": "off",
                  "target_features": ["spatial_style"], "sparse": "off"},
}


def filled(options):
    """Return the options with the preset's values where no flag was given (None, or an empty list).

    Several counterfactuals at once have a margin of their own, and are made sparse where --sparse asks for it alone.
    """
    values = dict(VALUES[options.preset])
    if options.num_diverse > 1:
        values |= DIVERSE
    return replace(options, **{name: value for name, value in values.items() if getattr(options, name) in (None, [])})
