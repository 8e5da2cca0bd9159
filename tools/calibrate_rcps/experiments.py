"""`calibrate_rcps experiments`: importance of coordinates, ablation of single ones, and a stress test of the encoder.

Importance ranks coordinates by their calibrated width. The ablation moves one coordinate and measures how much the
picture changes. The stress test corrupts pictures, encodes them and prints widths with the true risk beside them: wide
sets alone say nothing of the promise, which is for images like the calibration's.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common import console
from common.effects import check_effects
from common.errors import InputError
from common.files import fingerprint
from common.options import is_given
from common.paths import ExperimentDir, is_below
from common.record import stamps_of
from tools.calibrate_rcps import findings

PROG = "calibrate_rcps experiments"
ALL = ("importance", "ablation", "stress_test")


def run_experiments(options):
    """Run `calibrate_rcps experiments`; results: those of each experiment under its name."""
    from common.job import Job

    chosen = ALL if options.experiment == "all" else (options.experiment,)
    _check_acts(options, chosen)
    context, folder = open_context(options), Path(options.output_dir)
    options = replace(options, difficulty_level=options.difficulty_level or context.found[0][0])
    if chosen != ("stress_test",) or not options.from_outputs:
        context.place(options.difficulty_level)
    inputs = context.inputs + [Path(path) for path in _needed(options, context, chosen)]
    about = [fingerprint(path) for path in inputs]
    content = {f"input {number}": entry.get("sha256") or stamps_of([path])  # of a folder, its files' sizes and times
               for number, (path, entry) in enumerate(zip(inputs, about))}
    job = Job(folder, PROG, options, inputs=inputs, about=about, owns=[*ALL[1:], "importance_ranking"], content=content,
              show=show, summary=findings.experiments)

    def work():
        from tools.calibrate_rcps import ablation, importance, stress

        modules = {"importance": importance, "ablation": ablation, "stress_test": stress}
        results, outputs = {}, []
        for name in chosen:
            place = folder / {"importance": "importance_ranking"}.get(name, name)
            found, files = modules[name].run(context, options, place)
            results[name] = found
            outputs += files
        return results, outputs

    return job.run(work, lambda: (f"would run {', '.join(chosen)} into {folder}", {}))


def _needed(options, context, chosen):
    """Return the further files that experiments read. Raises InputError for the first that is missing or not given."""
    found = []
    if "ablation" in chosen:
        found.append(context.generator_path(options))
        found += [options.lpips_weights] if options.lpips_weights else []
    if "stress_test" in chosen and not options.from_outputs:
        if options.image_dir is None:
            raise InputError("required by the stress test, which corrupts and encodes pictures", where="--image_dir",
                             do="Pass the folder of generated images with their latents, or --from_outputs for the "
                             "original's mapping of names")
        if is_below(options.output_dir, options.image_dir):
            raise InputError("lies in --image_dir, whose images the corrupted ones would join",
                             where=f"--output_dir {options.output_dir}", do="Choose another folder")
        found += [context.tree.model(options.model_name), options.image_dir]
    for path in found:
        if not Path(path).exists():
            raise InputError("no such file or folder", where=path, do="Check the path")
    return found


@dataclass
class Context:
    """What the experiments share: the tree, the calibration, and the levels it was made of."""

    tree: object
    stored: object
    found: list
    opened: list

    @property
    def inputs(self):
        """The paths that are read."""
        return [path for _, _, path in self.found] + [self.stored.path]

    def place(self, level):
        """Return the place of a level. Raises InputError for one that was not calibrated."""
        names = [name for name, _, _ in self.found]
        if level not in names:
            raise InputError("no such level", where=f"--difficulty_level {level}", do=f"Use {', '.join(names)}")
        return names.index(level)

    def lambdas(self, place, run_index):
        """Return the lambdas (1 or 2,) of a level: of one of the splits, or (None) the one that is kept."""
        if run_index is None:
            return self.stored.lambda_hat[place]
        runs = np.asarray(self.stored.lambda_calib)
        arms = self.stored.lambda_hat.shape[1]
        runs = runs[place] if runs.ndim == (3 if arms == 2 else 2) else runs
        if not -len(runs) <= run_index < len(runs):
            raise InputError(f"the calibration has {len(runs)} runs", where=f"--run_index {run_index}",
                             do=f"Pass {-len(runs)} to {len(runs) - 1}, or leave it out")
        found = np.atleast_1d(runs[run_index])
        if np.isnan(found).any():
            raise InputError("no lambda passed in that run", where=f"--run_index {run_index}", do="Pass another")
        return found

    def widths(self, place, run_index, count=None):
        """Return each selected coordinate's mean calibrated width over the first `count` images: float64 (K,)."""
        from common.rcps.outputs import LOWER, POINT, UPPER

        self.stored.centre(self.opened[place], self.stored.dims)  # refuses intervals without a unit
        columns = self.opened[place].columns(self.stored.dims, (POINT, LOWER, UPPER))
        point, lower, upper = (np.float64(columns[key][:count]) for key in (POINT, LOWER, UPPER))
        lambdas = self.lambdas(place, run_index)
        below, above = np.maximum(point - lower, 0).mean(axis=0), np.maximum(upper - point, 0).mean(axis=0)
        widths = (lambdas[0] * below + lambdas[-1] * above) * self.stored.shape[place]
        return widths * self.stored.scale(self.opened[place])

    def generator_path(self, options):
        """Return the checkpoint that makes pictures."""
        from tools.calibrate_rcps.rendering import PSP

        return Path(options.stylegan_path or self.tree.pretrained / PSP)


def open_context(options):
    """Return the Context of the flags; calibrates where no calibration is saved."""
    from tools.calibrate_rcps.calibrate import calibrate_command
    from tools.calibrate_rcps.figures import find_levels
    from tools.calibrate_rcps.levels import find_outputs
    from tools.calibrate_rcps.options import CalibrateOptions
    from tools.calibrate_rcps.stored import open_calibrated, read

    tree = ExperimentDir(options.base_dir, options.exp_name)
    path = Path(options.calibration) if options.calibration else tree.calibration
    if options.calibration or (path / "calibration.npz").exists():
        _check_saved(options, path)
    else:
        find_outputs(options)  # names the command that makes a missing file
        if options.dry_run:
            raise InputError("not calibrated yet", where=path, do="Run calibrate_rcps first, or leave out --dry_run")
        console.say(f"note: {path} holds no calibration, calibrating with the defaults and {options.total_runs} runs")
        outcome = calibrate_command(CalibrateOptions(
            base_dir=options.base_dir, exp_name=options.exp_name, resize_factors=options.resize_factors,
            difficulty_levels=options.difficulty_levels, outputs=options.outputs, output_dir=str(path),
            dims=options.dims, total_runs=options.total_runs, quiet=options.quiet))
        _finish(outcome)
    stored = read(path)
    found = find_levels(stored, options, tree)
    return Context(tree, stored, found, open_calibrated(stored, found))


def _check_saved(options, path):
    """Raise InputError for an option of the calibration that was given where one is saved already."""
    for name in ("dims", "total_runs", *(() if options.outputs else ("resize_factors", "difficulty_levels"))):
        if is_given(options, name) and not _is_saved(options, name, path):
            raise InputError(f"acts where nothing is calibrated yet, and {path} holds a calibration",
                             where=f"--{name}", do="Leave it out, or calibrate again with calibrate_rcps")


def _is_saved(options, name, path):
    """Return whether a saved calibration has the same value of an option."""
    from common.flags import parse_factors
    from common.rcps.dims import find_dims
    from tools.calibrate_rcps.levels import split_list
    from tools.calibrate_rcps.stored import read

    stored, value = read(path), getattr(options, name)
    if name == "resize_factors":
        return parse_factors(value) == stored.factors.tolist()
    if name == "difficulty_levels":
        return split_list(value) == stored.levels.tolist()
    if name == "dims":
        return find_dims(value, int(stored.num_style_dims))[0] == stored.dims.tolist()
    return value == np.shape(stored.mean_emp_risks)[-1]


def _check_acts(options, chosen):
    """Raise InputError for an option that acts on none of the experiments that are asked for."""
    ablated = "ablation" in chosen, "--experiment ablation"
    stressed = "stress_test" in chosen, "--experiment stress_test"
    measured = stressed[0] and not options.from_outputs, "--experiment stress_test without --from_outputs"
    check_effects(options, dict.fromkeys(("image_index", "noise_std", "stylegan_path", "lpips_weights"), ablated) | {
        "compare_levels": ("importance" in chosen, "--experiment importance"), "from_outputs": stressed,
        "image_dir": measured, "encoder_size": measured,
        "num_samples": (chosen != ("ablation",), "--experiment stress_test or importance"),
        "seed": (measured[0] or ablated[0], "--experiment stress_test or ablation"),
        "difficulty_level": (measured[0] or chosen != ("stress_test",), "the images that are encoded")})


def _finish(outcome):
    """Write the record of a calibration that ran as a part of this command."""
    from common.files import plain

    outcome.record.finish({"tool": "calibrate_rcps", "command": "calibrate_rcps", "options": {},
                           "results": plain(outcome.results), "outputs": plain(outcome.outputs), "seconds": 0.0})


def show(results):
    """Print what each experiment says."""
    if "importance" in results:
        rows = [(row["rank"], row["factor_name"], row["dimension_index"], f"{row['importance_score']:.4f}")
                for row in results["importance"]["ranking"][:10]]
        console.show_table("Importance: the widest coordinates", ["rank", "name", "dim", "mean width"], rows)
    if "ablation" in results:
        found = results["ablation"]
        kinds = list(next(iter(found["scores"].values())))
        console.show_table(f"Ablation: change of the picture ({found['measure']})", ["dim", *kinds], [
            (name, *("-" if value is None else f"{value:.4f}" for value in scores.values()))
            for name, scores in found["scores"].items()])
    if "stress_test" in results:
        rows = [(level, row["num_samples"], f"{row['mean_interval_width']:.4f}",
                 "-" if row.get("risk") is None else f"{row['risk']:.4f}")
                for level, row in results["stress_test"]["corruption_levels"].items()]
        console.show_table("Stress test: widths, and the risk that is really had",
                           ["corruption", "images", "mean width", "risk"], rows)
