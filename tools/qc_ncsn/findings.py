"""What the page of a folder of runs says first of score models: see common.summary."""

from common.numerals import measured
from common.summary import Quantity, figures, summariser, summary

NLL = Quantity("nll", "NLL", "bits/dim", "lower")
NASYM = Quantity("nasym", "NAsym", better="lower")
CALLS = Quantity("nfe", "network calls")
QUALITY = (Quantity("fid", "FID", better="lower"), Quantity("frechet_distance", "Fréchet distance", better="lower"),
           Quantity("inception_score", "Inception score", better="higher"))
PRDC = tuple(Quantity(name, name, better="higher") for name in ("precision", "recall", "density", "coverage"))
COMPARED = (NLL, Quantity("dsm", "denoising loss", better="lower"), Quantity("asym", "Asym", better="lower"), NASYM,
            Quantity("fid", "FID", better="lower"), Quantity("frechet", "Fréchet distance", better="lower"),
            Quantity("inception_score", "Inception score", better="higher"), *PRDC, CALLS)
LEVELS = [["nasym.png", "NAsym of the score by noise level"], ["asym.png", "Asym of the score by noise level"]]

train = summariser("Training of a score model", Quantity("training_loss", "loss over the last batches", better="lower"),
                   Quantity("step", "steps"), Quantity("parameters", "parameters"),
                   pictures=[["samples/*.png", "samples during training"]])
sample = summariser("Samples of a score model", Quantity("num_samples", "images"), CALLS,
                    Quantity("images_per_second", "speed", "images/s"),
                    pictures=[["samples_0.png", "the first samples"], ["samples_*.png", "samples"]])
encode = summariser("Features of samples", Quantity("num_generated", "samples"), Quantity("num_dataset", "images"))
nfe = summariser("Network calls of stored samples", Quantity("mean_nfe", "network calls per sample"))


def nll(results):
    """Summarise `qc_ncsn eval nll`."""
    title = f"Likelihood of {results['num_images']:,} images, {results['weights']} weights"
    return summary(title, [("", figures(results, (NLL, CALLS)))], "measurement",
                   pictures=[["bpd.png", "bits/dim of the images"]])


def asym(results):
    """Summarise `qc_ncsn eval asym`."""
    title = f"Asymmetry of the score on {results['num_images']:,} images, {results['weights']} weights, " \
            f"{results['estimator']} estimator"
    quantities = NASYM, Quantity("asym", "Asym", better="lower")
    return summary(title, [("", figures(results, quantities))], "measurement", pictures=LEVELS)


def dsm(results):
    """Summarise `qc_ncsn eval dsm`."""
    title = f"Denoising loss on {results['num_images']:,} images of {results['split']}, {results['weights']} weights"
    quantity = Quantity("dsm", "denoising loss", better="lower")
    return summary(title, [("", figures(results, [quantity]))], "measurement",
                   pictures=[["dsm.png", "loss by noise level"]])


def fidis(results):
    """Summarise `qc_ncsn eval fidis`."""
    return summary(_against("Distance", results), [("", figures(results, QUALITY))], "measurement")


def prdc(results):
    """Summarise `qc_ncsn eval prdc`."""
    return summary(_against("Precision and coverage", results), [("", figures(results, PRDC))], "measurement",
                   pictures=[["prdc.png", "precision, recall, density and coverage"]])


def _against(what, results):
    return f"{what} of {results['num_generated']:,} samples to {results['num_dataset'] or 'unknown'} images " \
           f"in {results['features']}"


def series(name):
    """Return what summarises a series over checkpoints: a row for each."""
    quantities = {"nll": (NLL, CALLS), "asym": (NASYM, Quantity("asym", "Asym", better="lower")), "fidis": QUALITY,
                  "prdc": PRDC, "sample": (CALLS,), "dsm": (Quantity("dsm", "denoising loss", better="lower"),)}
    return lambda results: summary(
        f"Checkpoints side by side: {name}", [
            (f"checkpoint {number}", figures({key: values[place] for key, values in results.items()
                                              if isinstance(values, list)}, quantities.get(name, ())))
            for place, number in enumerate(results["checkpoint_idx"])],
        "comparison", pictures=[["curve.png", "by checkpoint"], ["samples.png", "the same samples by checkpoint"]])


def compare(title):
    """Return what summarises `qc_ncsn compare`: a row for each run, its differences to the first in the sentence."""
    def summarise(results):
        first, *others = results
        changes = []
        for name in others:
            entry = results[name]
            parts = [f"{what} by {'+' * (entry[key] > 0)}"
                     f"{measured(entry[key] * scale, _scaled(entry.get(f'{key}_se'), scale))}{unit}"
                     for key, what, scale, unit in (("nasym_change", "NAsym", 100, " %"),
                                                    ("nll_difference", "the likelihood", 1, " bits/dim"))
                     if entry.get(key) is not None]
            changes += [f"{name} changes " + " and ".join(parts)] if parts else []
        sentence = f"Compared with {first}, {'; '.join(changes[:3])}." if changes else ""
        return summary(title, [(name, figures(entry, COMPARED)) for name, entry in results.items()], "comparison",
                       sentence, [["samples.png", "samples of each run, the same noise in each column"], *LEVELS,
                                  ["loss.png", "training loss"]])

    return summarise


def _scaled(value, scale):
    return None if value is None else value * scale
