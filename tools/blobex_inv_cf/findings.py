"""What the page of a folder of runs says first of counterfactuals: see common.summary."""

from common.summary import Quantity, figures, summariser, summary

SEARCHED = (Quantity("success", "decisions flipped", "%", "higher", scale=100), Quantity("l1", "L1", better="lower"),
            Quantity("lpips", "LPIPS", better="lower"), Quantity("blobs_changed", "blobs changed", better="lower"),
            Quantity("evaluations", "evaluations of the model", better="lower"))
SNAPSHOTS = [["snapshot_*.jpg", "images, reconstructions and counterfactuals"]]

explain = summariser("Search for counterfactuals", *SEARCHED, Quantity("reconstruction_l1", "L1 of reconstructions",
                                                                        better="lower"),
                     Quantity("images", "images"), pictures=SNAPSHOTS)
blobs = summariser("Numbered blobs", Quantity("images", "images"), Quantity("blobs", "blobs"),
                   pictures=[["*.png", "a picture with the numbers of its blobs"]])


def sweep(results):
    """Summarise `blobex_inv_cf sweep`: a row for each combination, the recommended one first."""
    rows = [(f"rate {run['learning_rate_cf']:g}, {run['n_iters_cf']:g} steps, proximity {run['lambda_prox_cf']:g}",
             figures(run, SEARCHED)) for run in results["runs"]]
    return summary("Settings of the search side by side", rows, "comparison",
                   pictures=[["sweep.png", "success over distance, the recommended setting in red"]])
