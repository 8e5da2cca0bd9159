"""From flags to a folder of counterfactuals: check everything, then batch by batch."""

from pathlib import Path

from common import console, parallel
from common.effects import check_effects, note_idle, without_effect, without_idle
from common.errors import InputError
from common.numerals import counted
from tools.blobex_inv_cf import findings
from tools.blobex_inv_cf.presets import filled

PROG = "blobex_inv_cf"
OF_INVERSION = ("init", "n_iters_inv", "lr_inv", "halve_inv_every", "plateau", "coarse", "lambda_inv_lpips",
                "lambda_inv_l2", "lambda_inv_decision_fm", "lambda_inv_latent_prox", "keep")
OF_SEARCH = ("learning_rate_cf", "lr_ratio", "lambda_prox_cf", "lambda_prox", "n_iters_cf", "early_stop", "margin",
             "patience", "bounds", "target_features", "target_attributes", "target", "joint", "target_blob",
             "target_region", "sparse", "sparse_margin", "num_diverse")
OWNS = ("metadata_*.pt", "snapshot_*.jpg", "all_inversions.pt", "all_inversions.json", "pairs.csv")


def show(results):
    """Print the results as a table."""
    if results["left_out"]:
        console.say(f"note: left out {counted(results['left_out'], 'image')}: unreadable, or not what was inverted")
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


def explain(request, show_results=show, is_part=False):
    """Invert and explain; results: images, left_out, not_finite, reconstruction_l1, pairs, flipped, already, not_found,
    failed, success, l1, lpips, blobs_changed, evaluations, flip_on_real.

    show_results: prints them, or None.  is_part: of a larger command, which says what flags have no effect."""
    from common.device import pick_device, set_precision
    from common.job import Job
    from tools.blobex_inv_cf.material import Material

    check_effects(request, needed_by(request))
    options, idle = filled(request), without_effect(request, acts(request))
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    material = Material(options, device)
    goals = wanted_of(options, material)
    settings = make_settings(options, material)
    folder = Path(options.output_dir)
    acting = without_idle(request, idle)
    derived, content = material.derived(), {}
    if is_part:  # inversions of the larger command, which grow with the number of its images
        content["inversions"] = derived.pop("contents of inversions_path")
    job = Job(folder, PROG, filled(acting), request=acting, derived=derived, content=content,
              inputs=material.inputs(), owns=OWNS, show=show_results, summary=findings.explain)

    def work():
        from tools.blobex_inv_cf.batch import Explainer
        from tools.blobex_inv_cf.outputs import make_batches

        note_idle({} if is_part else idle)
        if material.images is not None and (not is_part or options.inversion_only):
            material.images.note_changes()
        return make_batches(folder, Explainer(material, options, settings, goals))

    what = "invert" if options.inversion_only else f"explain {goals.count(options.joint)} decisions of"
    batches = counted(len(material.batches()), "batch", "batches")
    line = f"would {what} {counted(material.count, 'image')} in {batches} into {folder}"

    def rehearse():
        note_idle({} if is_part else idle)
        return line, {"images": material.count, "batches": len(material.batches())}

    return job.run(work, rehearse, device)


def needed_by(request):
    """Return when flags act that are refused where they do not, see common.effects."""
    several = request.num_diverse > 1
    return {"gate": (several and request.diversity != "restarts", "--num_diverse, without --diversity restarts"),
            "diversity": (several, "--num_diverse"), "search_anyway": (bool(request.target), "--target"),
            "segmentation_range": (request.segmentation_weights is not None, "--segmentation_weights")}


def acts(request):
    """Return when flags act that the original's commands pass in any case, see common.effects."""
    options, several = filled(request), request.num_diverse > 1
    inverts, searches = options.real_images and not options.load_inversion, not options.inversion_only
    early = options.early_stop == "on"
    return dict.fromkeys(OF_INVERSION, (inverts, "inversions")) | dict.fromkeys(OF_SEARCH, (searches, "the search")) | {
        "truncation": (not options.real_images, "generated images"),
        "num_imgs": (not options.real_images, "generated images"),
        "max_images": (options.real_images, "images of --dataset_path"),
        "patience": (searches and early, "a search with --early_stop on"),
        "margin": (searches and (early or several), "a search with --early_stop on"),
        "sparse_margin": (searches and options.sparse != "off", "--sparse"),
        "lambda_prox": (searches and options.lambda_prox_cf > 0, "--lambda_prox_cf above 0")}


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
    blobs = check_blobs(options.target_blob, material.gan.num_blobs) or None
    return SearchSettings(tuple(options.target_features), blobs, options.learning_rate_cf,
                          numbers_of(options.lr_ratio, "--lr_ratio"), options.lambda_prox_cf,
                          numbers_of(options.lambda_prox, "--lambda_prox"), options.n_iters_cf, options.margin,
                          options.patience, options.early_stop == "on", material.bounds())


def numbers_of(words, flag):
    """Return {tensor: number} of words such as xs=0.125; InputError for others, and for a tensor given twice."""
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
        if name in found:
            raise InputError(f"{name} is given twice", where=flag, do="Give it once")
        found[name] = value
    return found
