"""The original's results runner, for notebooks: the same class, attributes, methods and returns.

    from tools.calibrate_rcps.runner import RCPS_Results_Runner, decorate_plot

Sets, losses and set sizes are computed when an entry is asked for; networks are loaded by the first call that renders
or encodes, so that everything else works without their files. Where the original is wrong (statistics of the last level
used for all, an empty set where no lambda passes, edges of another image) this does what it says.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

import numpy as np

from common.errors import InputError, Parameter
from common.flags import parse_factors
from common.numerals import counted
from common.paths import ExperimentDir
from common.rcps.bounds import BOUNDS
from common.rcps.choice import PUBLISHED
from common.rcps.dims import find_dims
from common.rcps.levels import WAYS
from common.rcps.outputs import LOWER, POINT, TRUTH, UPPER
from tools.calibrate_rcps import plots, published
from tools.calibrate_rcps.calibration import Rules, calibrate, spread_over_splits
from tools.calibrate_rcps.levels import check_names, open_levels, read_levels
from tools.calibrate_rcps.panels import RunnerPictures

NAMES = {"allz_np": TRUTH, "allz_hat_np": POINT, "allz_hat_lq_np": LOWER, "allz_hat_uq_np": UPPER}


def decorate_plot(ax, xlabel, ylabel, title_str, xticks=None):
    """Label axes as the published notebook does."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title_str)
    if xticks is not None:
        ax.set_xticks(xticks)


class _Arrays(Mapping):
    """results_dict of a level: each (N, D) array is read when it is asked for, and kept."""

    def __init__(self, outputs):
        self._outputs, self._read = outputs, {}

    def __getitem__(self, name):
        if name not in self._read:
            self._read[name] = self._outputs.columns(np.arange(self._outputs.num_dims), (NAMES[name],))[NAMES[name]]
        return self._read[name]

    def __iter__(self):
        return iter(NAMES)

    def __len__(self):
        return len(NAMES)


@dataclass
class RCPS_Results_Runner(RunnerPictures):  # noqa: N801 (the name that notebooks import)
    """Calibrate an experiment's outputs and look at the results; words and attributes as in the original.

    base_dir counts from the current folder. By keyword alone: alpha, delta, bound, dims (a name or numbers),
    levels_as, rule.
    """

    base_dir: str
    exp_name: str
    model_name: str
    resize_factors: list
    difficulty_levels: list
    norm_scheme: str = "mean"
    mean_style_vector: list = field(default_factory=list)
    style_dims: list = field(default_factory=list)
    results_dict: dict = field(default_factory=dict)
    device: str = "auto"
    _: KW_ONLY
    alpha: float = 0.1
    delta: float = 0.1
    bound: str = "wsr"
    dims: object = "ffhq33"
    levels_as: str = "pooled"
    rule: str = "first_hit"

    def __post_init__(self):
        self.resize_factors = parse_factors(self.resize_factors)
        if len(self.resize_factors) != len(self.difficulty_levels):
            raise InputError(f"{len(self.difficulty_levels)} levels for {counted(len(self.resize_factors), 'factor')}",
                             where="difficulty_levels", do="Pass one name for each factor")
        check_names(self.difficulty_levels, "difficulty_levels")
        self._check_words()
        self.tree = ExperimentDir(self.base_dir, self.exp_name)
        self.difficulty_to_resize_factor = dict(zip(self.difficulty_levels, self.resize_factors))
        self.lambda_values = PUBLISHED.copy()
        self.all_prediction_sets, self.all_losses_per_lambda = {}, {}
        self.all_rcps_stats, self.test_idx_list, self.indices_per_difficulty_level = {}, {}, {}
        self.load_data()

    def _check_words(self):
        """Raise InputError for a word that is none of its parameter's, and for levels outside 0 to 1."""
        for name, words in (("bound", [*BOUNDS, "anytime", "crc"]), ("levels_as", WAYS),
                            ("rule", ("first_hit", "rigorous"))):
            if getattr(self, name) not in words:
                raise InputError(f"expected {', '.join(words)}", where=Parameter(name, getattr(self, name)),
                                 do="Correct the value")
        for name in ("alpha", "delta"):
            value = getattr(self, name)
            if isinstance(value, (str, bool)) or not 0 < value < 1:
                raise InputError("must be a number above 0 and below 1", where=Parameter(name, value),
                                 do="Correct the value")

    @property
    def ckpt_path(self):
        """The quantile encoder's checkpoint."""
        return str(self.tree.model(self.model_name))

    @property
    def calibration_results_dir(self):
        """The folder of the levels' outputs."""
        return str(self.tree.images(1).parent)

    @property
    def pretrained_models_dir(self):
        """The folder of the pSp checkpoint, whose decoder renders."""
        return str(self.tree.pretrained)

    def get_calibration_file_by_difficulty_level(self, level):
        """Return the path of a level's outputs.npz."""
        return str(self.tree.outputs(self.difficulty_to_resize_factor[level]))

    def load_data(self):
        """Open every level's outputs and read the selected coordinates."""
        found = [(level, factor, self.tree.outputs(factor))
                 for level, factor in self.difficulty_to_resize_factor.items()]
        opened = open_levels(found)
        word = self.dims if isinstance(self.dims, str) else ",".join(str(int(dim)) for dim in self.dims)
        selected, self.dim_names = find_dims(word, opened[0].num_dims)
        alone = self.levels_as != "mean" or len(opened) == 1
        if self.bound == "binomial" and not (len(selected) == 1 and alone):
            raise InputError("is for losses of 0 and 1", where=Parameter("bound", "binomial"),
                             do="Use another bound, or one coordinate")
        self.disent_dims, self.select_indices = np.array(selected), range(len(selected))
        scheme = self.norm_scheme if self.norm_scheme in ("mean", "min_max", "min_max_legacy") else "none"
        aligned = self.levels_as in ("mean", "pooled")
        self._levels = read_levels(found, opened, selected, scheme, aligned=aligned, published=True)
        self.results_dict = {level.name: _Arrays(level.outputs) for level in self._levels}
        first = opened[0]
        self.mean_style_vector = first.small.get("mean_style_space_vector", [])
        dims = np.atleast_1d(first.small.get("style_dims", []))
        self.style_dims = dims if len(dims) > 1 else []

    def _level(self, name):
        found = [level for level in self._levels if level.name == name]
        if not found:
            raise InputError(f"no level {name}", where="difficulty_level",
                             do=f"Use {', '.join(self.difficulty_levels)}")
        return found[0]

    def compute_losses_prediction_sets(self):
        """Fill all_prediction_sets and all_losses_per_lambda, entries computed when they are asked for."""
        for level in self._levels:
            self.all_prediction_sets[level.name] = [published.prediction_sets(level, self.lambda_values)]
            self.all_losses_per_lambda[level.name] = [published.losses(level, self.lambda_values)]

    def rules(self, total_runs):
        """Return the Rules of a calibration with so many splits. Raises InputError for fewer than one."""
        if total_runs < 1:
            raise InputError("must be at least 1", where=Parameter("total_runs", total_runs), do="Correct the value")
        return Rules(alpha=self.alpha, delta=self.delta, bound=self.bound, levels_as=self.levels_as, rule=self.rule,
                     grid="published", splits="published", runs=total_runs, published_count=True)

    def calibrate_all_difficulty_levels(self, total_runs=50):
        """Choose lambda in `total_runs` splits and fill all_rcps_stats and test_idx_list.

        Raises NoLambda where no lambda passes in some split, where the original goes on with empty sets.
        """
        start = 0
        for level in self._levels:
            self.indices_per_difficulty_level[level.name] = range(start, start + level.count)
            start += level.count
        for group, runs in self._spread(self._levels, total_runs):
            members = [self._levels[place] for place in group.members]
            found = published.published_results(members, self.lambda_values, runs)
            self.all_rcps_stats |= found["all_rcps_stats"]
            self.test_idx_list |= found["test_idx_list"]

    def _spread(self, levels, total_runs):
        """Return [(Group, Runs)] of some levels. Raises NoLambda or InputError where no lambda passes in some split."""
        found = spread_over_splits(levels, self.rules(total_runs))
        missing = max(int(np.isnan(runs.risks).sum()) for _, runs in found)
        if missing:
            calibrate(levels, self.rules(1))  # says why, where all images together have none either
            raise InputError(f"no lambda passes in {missing} of {total_runs} splits",
                             do="Use a larger alpha, or more images")
        return found

    def calibrate_per_difficulty_level(self, resize_factor, total_runs=50):
        """Choose lambda for one level by itself and fill its entries of all_rcps_stats and test_idx_list.

        Raises NoLambda or InputError where no lambda passes in some split.
        """
        if resize_factor not in self.resize_factors:
            raise InputError(f"no level of factor {resize_factor}", where="resize_factor",
                             do=f"Use {', '.join(map(str, self.resize_factors))}")
        level = self._levels[list(self.resize_factors).index(resize_factor)]
        ((_, runs),) = self._spread([level], total_runs)
        found = published.published_results([level], self.lambda_values, runs)
        self.all_rcps_stats |= found["all_rcps_stats"]
        self.test_idx_list |= found["test_idx_list"]

    def save_calibration(self, path=None):
        """Write calibration_results.pkl, or `path`: a dictionary that opens without this package; return its path."""
        import pickle

        from common.files import atomic_path

        path = Path(path or self.tree.results_pickle)
        with atomic_path(path) as temporary, open(temporary, "wb") as stream:
            pickle.dump(published.plain_lists({
                "all_rcps_stats": self.all_rcps_stats, "all_prediction_sets": self.all_prediction_sets,
                "all_losses_per_lambda": self.all_losses_per_lambda, "test_idx_list": self.test_idx_list}), stream,
                protocol=4)
        return str(path)

    def plot_set_sizes(self):
        """Return the Figure of the uncalibrated widths of each level."""
        return plots.set_sizes({level.name: level.intervals.widths() * level.scale for level in self._levels})[0]

    def plot_residuals(self):
        """Return the Axes of truth - point of each level."""
        return plots.residuals({level.name: level.intervals.residual for level in self._levels})[1]

    def visualize_style_space_intervals(self, difficulty_level, image_index, plot_type="calibration_interval",
                                        run_index=-1, select_groups=None, group_names=None):
        """Return (Figure, how many coordinates only the calibrated interval covers) of one image."""
        level, lambda_hat = self._level(difficulty_level), self._lambda(difficulty_level, run_index)
        places = list(self.select_indices)
        if select_groups is not None:
            places = [int(place) for group in select_groups for place in np.atleast_1d(group)]
        names = group_names if group_names is not None else [self.dim_names[place] for place in places]
        if plot_type not in plots.PLOT_TYPES:
            raise InputError(f"expected {', '.join(plots.PLOT_TYPES)}", where=Parameter("plot_type", plot_type),
                             do="Correct the value")
        if len(names) != len(places):
            raise InputError(f"{len(names)} names for {len(places)} coordinates", where="group_names",
                             do="Pass one name for each coordinate")
        row = plots.interval_rows(level, image_index, (lambda_hat,))
        only = ((row["low"] < row["truth"]) & (row["truth"] < row["high"])
                & ~((row["lower"] < row["truth"]) & (row["truth"] < row["upper"])))
        drawn = {name: self.min_max_norm(values, difficulty_level)[places] for name, values in row.items()}
        return plots.intervals(drawn, names, plot_type)[0], int(only[places].sum())

    def _lambda(self, level, run_index):
        if level not in self.all_rcps_stats:
            raise InputError(f"level {level} is not calibrated", do="Call calibrate_all_difficulty_levels first")
        return float(self.all_rcps_stats[level]["lambda_calib"][run_index])

    def min_max_norm(self, values, level=None):
        """Return values (..., K) of the selected coordinates in units of a level's range, -1..1."""
        outputs = self._level(level or self.difficulty_levels[0]).outputs
        low, high = (outputs.vector(name, self.disent_dims) for name in ("min", "max"))
        return 2 * ((values - low) / (high - low) - 0.5)

    def get_coverage_fraction(self, truth, lower, upper):
        """Return the share of truths inside their open intervals."""
        return float(((np.asarray(lower) < truth) & (truth < np.asarray(upper))).mean())

    def get_fnr(self, truth, lower, upper):
        """Return the share of truths outside their intervals."""
        return 1.0 - self.get_coverage_fraction(truth, lower, upper)
