"""From flags to a folder of counterfactuals: check everything, then batch by batch."""

from pathlib import Path

from common import console, parallel
from common.errors import InputError
from common.options import is_given
from tools.blobex_inv_cf import findings

PROG = "blobex_inv_cf"
OWNS = ("metadata_*.pt", "snapshot_*.jpg", "all_inversions.pt", "all_inversions.json", "pairs.csv")


def show(results):
    """Print the results as a table."""
    if results["left_out"]:
        console.say(f"note: {results['left_out']} images were left out: unreadable, or not those that were inverted")
    if "pairs" not in results:
        row = [str(results["images"]), _short(results["reconstruction_l1"])]
        console.show_table("Inversions", ["images", "L1"], [row])
        return
    names = ("images", "pairs", "flipped", "already", "not_found", "failed")
    row = [str(results[name]) for name in names]
    row += [_short(results[name]) for name in ("success", "l1", "blobs_changed", "evaluations", "flip_on_real")]
    console.show_table("Counterfactuals", [*names, "success", "L1", "blobs changed", "evaluations", "flips on real"],
                       [row])


def _short(value):
    return "" if value is None else f"{value:.3f}"


def explain(request, show_results=show):
    """Invert and explain; results: images, left_out, not_finite, reconstruction_l1, pairs, flipped, already, not_found,
    failed, success, l1, lpips, blobs_changed, evaluations, flip_on_real. show_results: prints them, or None."""
    from common.device import pick_device, set_precision
    from common.job import Job
    from tools.blobex_inv_cf.material import Material
    from tools.blobex_inv_cf.presets import filled

    options = filled(request)
    check_effects(request)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    material = Material(options, device)
    goals = wanted_of(options, material)
    settings = make_settings(options, material)
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, request=request, derived=material.derived(), inputs=material.inputs(), owns=OWNS,
              show=show_results, summary=findings.explain)

    def work():
        from tools.blobex_inv_cf.batch import Explainer
        from tools.blobex_inv_cf.outputs import make_batches

        return make_batches(folder, Explainer(material, options, settings, goals))

    what = "invert" if options.inversion_only else f"explain {goals.count(options.joint)} decisions of"
    line = f"would {what} {material.count:,} images in {len(material.batches()):,} batches into {folder}"
    return job.run(work, lambda: (line, {"images": material.count, "batches": len(material.batches())}), device)


def check_effects(request):
    """Raise InputError for a flag that acts on another, which is not given."""
    several = request.num_diverse > 1
    acts = {"gate": (several and request.diversity != "restarts", "--num_diverse, without --diversity restarts"),
            "diversity": (several, "--num_diverse"), "search_anyway": (bool(request.target), "--target"),
            "segmentation_range": (request.segmentation_weights is not None, "--segmentation_weights")}
    for name, (effective, on) in acts.items():
        if is_given(request, name) and not effective:
            raise InputError(f"acts on {on}, which is not asked for", where=f"--{name}", do="Leave it out")


def wanted_of(options, material):
    """Return the Wanted of the flags."""
    from tools.blobex_inv_cf.goals import wanted

    return wanted(options, material.explained.names, material.explained.description.get("kind") == "classes")


def make_settings(options, material):
    """Return the SearchSettings of the flags."""
    from tools.blobex_inv_cf.goals import check_blobs
    from tools.blobex_inv_cf.problem import SearchSettings

    given = [f"--{name}" for name in ("target_blob", "target_region", "target_classes") if getattr(options, name)]
    if len(given) > 1:
        raise InputError(f"chooses blobs, as {given[1]} does", where=given[0], do="Pass one of them")
    region = options.target_region
    if region and (region[0] >= region[2] or region[1] >= region[3]):
        raise InputError("expected x0 < x1 and y0 < y1", where="--target_region", do="Correct the numbers")
    if options.search_on == "real" and not options.real_images:
        raise InputError("generated images have no real ones", where="--search_on real", do="Leave it out")
    blobs = check_blobs(options.target_blob, material.gan.config.n_features) or None
    return SearchSettings(tuple(options.target_features), blobs, options.learning_rate_cf,
                          numbers_of(options.lr_ratio, "--lr_ratio"), options.lambda_prox_cf,
                          numbers_of(options.lambda_prox, "--lambda_prox"), options.n_iters_cf, options.margin,
                          options.patience, options.early_stop == "on", material.bounds())


def numbers_of(words, flag):
    """Return {tensor: number} of words such as xs=0.125; InputError for others."""
    from tools.blobex_inv_cf.options import TENSORS

    found = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if name not in TENSORS or not 0 <= value < float("inf"):
            raise InputError("expected TENSOR=NUMBER", where=f"{flag} {word}",
                             do=f"Tensors are {', '.join(TENSORS)}; numbers are at least 0")
        found[name] = value
    return found
