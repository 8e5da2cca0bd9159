"""The end of a training: the best model measured on the held-out images, its temperature, tables and pictures."""

import numpy as np
import torch

from common import console
from common.files import write_npz
from common.formats.tables import write_table
from common.images.figures import new_figure, save_figure
from common.images.grids import save_grid, viewing_scale
from common.images.pixels import rounded_bytes
from tools.train_decision_model.measure import MEASURES, calibration_error, measure, reliability, temperatures

SHOWN = 32  # pictures of inputs.png
LINES = 8  # attributes of reliability.png


def conclude(run, network, logits, truth, numbers):
    """Measure the best model by its logits and the truth of the held-out images of these numbers, write its files, and
    return the results."""
    options, names = run.options, list(run.source.names)
    count = len(names)
    scores = probabilities(logits[:, :count], run.source.kind)
    found = measure(scores, truth[:, :count])
    results = {"names": names, **found, **{f"mean_{name}": mean(found[name]) for name in MEASURES},
               "least_accuracy": min(found["accuracy"])}
    if run.source.kind == "classes":
        results["top1_accuracy"] = float((scores.argmax(axis=1) == truth.argmax(axis=1)).mean())
    if run.source.reasons:
        reasons = measure(probabilities(logits[:, count:], "attributes"), truth[:, count:])
        results |= {"reasons": list(run.source.reasons), "mean_reason_accuracy": mean(reasons["accuracy"])}
    if options.calibrate:
        results |= calibrate(run, network, logits[:, :count], truth[:, :count])
    write_npz(run.folder / "held_out.npz", logits=logits[:, :count], scores=scores, truth=truth[:, :count],
              names=np.array(names), images=np.array([str(run.val.title(number)) for number in numbers]))
    write_table(run.folder / "attributes.csv", ["name", *MEASURES],
                [[name, *(found[key][place] for key in MEASURES)] for place, name in enumerate(names)])
    draw_reliability(run.folder / "reliability.png", names, scores, truth)
    return {"steps": options.steps, "best_step": run.best["step"], "training_loss": float(np.mean(run.recent)),
            "held_out_loss": run.best["loss"], "parameters": sum(each.numel() for each in network.parameters()),
            "images": len(run.train), "held_out": len(numbers), "missing": run.source.missing,
            "damaged": len(run.train.damaged) + len(run.val.damaged),
            "images_per_second": run.trainer.images_per_second, **results, "checkpoint": str(run.checkpoint)}


def mean(values):
    """Return the mean of the numbers of a list, None where there are none."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None


def probabilities(logits, kind):
    """Return float64 probabilities (N, A) of logits."""
    values = torch.from_numpy(logits).double()
    return (values.sigmoid() if kind == "attributes" else values.softmax(dim=1)).numpy()


def calibrate(run, network, logits, truth):
    """Choose temperatures on every second held-out image, write them into the model, and return what the others say:
    temperature, ece_before and ece_after, a list each."""
    kind = run.source.kind
    found = temperatures(logits[::2], truth[::2], kind)
    network.temperature = torch.from_numpy(found).float().to(network.temperature.device)
    run.write(network)
    errors = [[calibration_error(column, y.astype(bool)) for column, y in
               zip(probabilities(logits[1::2] / scale, kind).T, truth[1::2].T)] for scale in (1.0, found)]
    return {"temperature": found.tolist(), "ece_before": errors[0], "ece_after": errors[1]}


def draw_inputs(path, batches, prepared, device):
    """Draw the first pictures of the first batch as the network sees them."""
    draws = [value.to(device) for value in batches.draw(1, 0, min(SHOWN, batches.batch))]
    save_grid(path, rounded_bytes(prepared(draws)), columns=8, scale=viewing_scale(draws[0].shape[1]))


def draw_reliability(path, names, scores, truth):
    """Draw the share of positives over the predicted probability, a line for each attribute."""
    figure, axes = new_figure(4.2, 4.0)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for place, name in enumerate(names[:LINES]):
        bins = reliability(scores[:, place], truth[:, place])
        axes.plot(bins[:, 1], bins[:, 2], marker="o", markersize=3, linewidth=1.2, label=name)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share of positives")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(fontsize=7, frameon=False)
    save_figure(path, figure)


def say(run, results):
    """Show the table of the attributes, and what the user should know of the images."""
    def text(value):
        return "-" if value is None else f"{value:.3f}"

    rows = [[name, *(text(results[key][place]) for key in MEASURES)] for place, name in enumerate(results["names"])]
    if len(rows) > 1:
        rows.append(["mean", *(text(results[f"mean_{key}"]) for key in MEASURES)])
    console.show_table(f"{run.folder}: {results['held_out']:,} held-out images, step {results['best_step']:,} of "
                       f"{results['steps']:,}", ["attribute" if run.source.kind == "attributes" else "class",
                                                 *(key.replace("_", " ") for key in MEASURES)], rows)
    if results["damaged"]:
        console.say(f"warning: {results['damaged']:,} images cannot be read: others were drawn in their place, and "
                    "held-out ones are left out")
