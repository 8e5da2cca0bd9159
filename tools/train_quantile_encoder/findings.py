"""What the page of a folder of runs says first of a training: see common.summary."""

from common.summary import Quantity, figures, summary

OF_A_FACTOR = (("coverage", "coverage", "%", "", 100), ("calibrated_coverage", "calibrated coverage", "%", "", 100),
               ("r2", "R² of the prediction", "", "", 1),
               ("calibrated_width", "calibrated width", "", "", 1))


def train(results):
    """Summarise a training: a row for each resize factor that was validated."""
    factors = [key.removeprefix("r2_").removesuffix("x") for key in results if key.startswith("r2_")]
    rows = [(f"resize factor {factor}", figures(results, [
        Quantity(f"{key}_{factor}x", name, unit, better, scale=scale)
        for key, name, unit, better, scale in OF_A_FACTOR])) for factor in factors]
    plain = figures(results, (Quantity("training_loss", "training loss", better="lower"), Quantity("steps", "steps"),
                              Quantity("images", "images")))
    return summary("Training of a quantile encoder", rows or [("", plain)],
                   pictures=[["images/step_*.png", "images and the ends of their intervals"]])
