"""Recipes, and the values of flags that were not given."""

from dataclasses import replace

from common.errors import InputError

DEFAULTS = {"arch": "densenet121", "batch_size": 32, "lr": 3e-4, "lr_schedule": "onecycle", "blur": 0.0, "gain": 0.0,
            "shift": 0.0, "smooth_noise": 0.0, "white_noise": 0.0}
FLAG = "--preset"
PRESETS = {
    "bddoia": "BDD-OIA as published: DenseNet-121 from ImageNet's weights, 256 x 512, 5 passes",
    "small": "made pictures of some 32 px: four convolutions, 350 steps, augmented",
}
VALUES = {
    # STEEX's train_decision_model_bdd.py: 512 x 256 bicubic, no augmentation, Adam, 5 epochs, held out after each
    "bddoia": {"arch": "densenet121", "size": "256x512", "batch_size": 8, "lr": 1e-4, "lr_schedule": "constant",
               "epochs": 5.0},
    "small": {"arch": "small", "batch_size": 64, "lr": 4e-3, "lr_schedule": "onecycle", "steps": 350, "blur": 1.0,
              "gain": 0.3, "shift": 0.2, "smooth_noise": 0.25, "white_noise": 0.1},
}
EPOCHS = 10.0
RANDOM = "none"  # --imagenet_weights


def filled(options):
    """Return options whose missing values are those of the preset, else of DEFAULTS; steps and epochs go together."""
    preset = VALUES.get(options.preset, {})
    if options.steps is not None and options.epochs is not None:
        raise InputError("cannot be used with --steps: choose one", where="--epochs", do="Leave one out")
    if options.steps is not None or options.epochs is not None:
        preset = {name: value for name, value in preset.items() if name not in ("steps", "epochs")}
    values = {name: value for name, value in {**DEFAULTS, **preset}.items() if getattr(options, name) is None}
    options = replace(options, **values)
    if options.steps is None and options.epochs is None:
        options = replace(options, epochs=EPOCHS)
    if options.preset == "bddoia" and options.imagenet_weights is None and options.arch != "small":
        from common.networks.decision import imagenet_address

        raise InputError("the preset starts from ImageNet's weights", where="--preset bddoia",
                         do=f"Download {imagenet_address(options.arch)} and pass it as --imagenet_weights, or pass "
                            f"--imagenet_weights {RANDOM}")
    return options
