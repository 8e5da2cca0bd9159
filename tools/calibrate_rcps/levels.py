"""What the flags name, read: outputs.npz files as difficulty levels, coordinates, and how values are normalised."""

import re
from dataclasses import dataclass
from pathlib import Path

from common import console
from common.errors import InputError
from common.flags import parse_factors
from common.numerals import counted
from common.options import is_given
from common.paths import ExperimentDir

SCHEMES = ["mean", "none", "min_max", "min_max_legacy"]


@dataclass
class Level:
    """The outputs at one difficulty.

    name, factor: as the user calls it, and its resize factor (None where unknown).  outputs: its Outputs.
    intervals: Intervals (N, K).  point, truth: float64 (N, K), in the truth's units.  scale: (K,) or 1, by which widths
    are multiplied (min_max).  first: (N, K) of sets.first_covering, with published arithmetic, else None.
    """

    name: str
    factor: int | None
    outputs: object
    intervals: object
    point: object
    truth: object
    scale: object
    first: object = None

    @property
    def count(self):
        """The number of images."""
        return len(self.point)


def find_outputs(options):
    """Return [(level, factor, path)] that --outputs, or the experiment's tree with factors and levels, name."""
    if options.outputs:
        for name in ("resize_factors", "difficulty_levels"):
            if hasattr(options, name) and is_given(options, name):
                raise InputError("acts on the outputs of the experiment's tree, not on --outputs", where=f"--{name}",
                                 do="Leave out one of them")
        found = [_split_name(word) for word in options.outputs]
        check_names([name for name, _, _ in found], "outputs")
        return found
    factors, names = parse_factors(options.resize_factors), split_list(options.difficulty_levels)
    if len(factors) != len(names):
        raise InputError(f"{counted(len(factors), 'factor')} for {len(names)} levels", where="--resize_factors",
                         do="Pass one --difficulty_levels name for each")
    check_names(names, "difficulty_levels")
    tree = ExperimentDir(options.base_dir, options.exp_name)
    found = [(name, factor, tree.outputs(factor)) for name, factor in zip(names, factors)]
    for name, factor, path in found:
        if not path.exists():
            raise InputError(f"no such file (level {name})", where=path,
                             do=f"Make it: generate_outputs_npz --base_dir {options.base_dir} --exp_name "
                             f"{options.exp_name} --resize_factor {factor} --image_dir IMAGES --output_path {path}")
    return found


def check_names(names, flag):
    """Raise InputError for a level's name that is given twice, or that cannot be a part of a file's name."""
    for name in names:
        if not name.isprintable() or re.search(r"[/\\]", name) or name.strip(" .") == "":
            raise InputError("a level's name becomes part of files' names: no slash, and not dots alone",
                             where=f"--{flag} {name}", do="Give it a plain name, such as easy")
    if len({*names}) < len(names):
        again = next(name for place, name in enumerate(names) if name in names[:place])
        raise InputError("a level is named twice", where=f"--{flag} {again}", do="Give each level its own name")


def split_list(words):
    """Return the items of words separated by blanks or commas."""
    return [item for word in words for item in str(word).split(",") if item]


def _split_name(word):
    name, equals, path = word.partition("=")
    if not equals or not name or not path:
        raise InputError("expected NAME=FILE", where=f"--outputs {word}", do="Write for example easy=outputs.npz")
    return name, None, Path(path)


def open_levels(found):
    """Return [Outputs] of [(level, factor, path)], which agree on the number of coordinates and on the encoder.

    Raises InputError where a file says that it was made at another factor, or by a different encoder than the first.
    """
    from common.rcps.outputs import Outputs

    opened = [Outputs(path) for _, _, path in found]
    for (level, factor, path), outputs in zip(found, opened):
        made = outputs.small.get("resize_factor")
        if factor and made is not None and int(made) != factor:
            raise InputError(f"was made at resize factor {int(made)}, level {level} is for {factor}", where=path,
                             do=f"Make it again with --resize_factor {factor}")
        if "" not in (outputs.encoder, opened[0].encoder) and outputs.encoder != opened[0].encoder:
            raise InputError(f"was made by a different encoder than {opened[0].path}", where=path,
                             do="Make the outputs of all levels with one encoder")
    for outputs in opened[1:]:
        if outputs.num_dims != opened[0].num_dims:
            raise InputError(f"has {outputs.num_dims} coordinates, {opened[0].path} has {opened[0].num_dims}",
                             where=outputs.path, do="Pass outputs of one encoder")
    return opened


def read_levels(found, opened, dims, scheme="mean", *, aligned=True, published=False, drop_missing=False):
    """Return the [Level] of opened outputs.

    aligned: whether image i is the same at every level (checked).  published: add Level.first.  drop_missing: leave
    out the images without a truth at any level (at its own, where levels are not aligned), which are refused otherwise.
    Raises InputError as Outputs does, and where a statistic that the scheme needs is missing.
    """
    import numpy as np

    from common.rcps.levels import check_same_images
    from common.rcps.outputs import TRUTH

    columns = [outputs.columns(dims) for outputs in opened]
    names = [name for name, _, _ in found]
    if aligned and len(opened) > 1:
        check_same_images(opened, [each[TRUTH] for each in columns], names)
    keep = [outputs.has_truth() for outputs in opened]
    if aligned:
        keep = [np.logical_and.reduce(keep)] * len(keep)
    for outputs, rows in zip(opened, keep):
        _check_truth(outputs, rows, drop_missing)
    columns = [{key: array[rows] for key, array in each.items()} for each, rows in zip(columns, keep)]
    return [_make_level(name, factor, outputs, each, dims, scheme, published)
            for (name, factor, _), outputs, each in zip(found, opened, columns)]


def _check_truth(outputs, rows, drop_missing):
    missing = int((~rows).sum())
    if not rows.any():
        raise InputError("no image has a truth", where=outputs.path,
                         do="Calibrate on generated images, whose latents are known")
    if missing and not drop_missing:
        raise InputError(f"no truth for {missing} of {len(rows)} images, the first is image {int((~rows).argmax())}",
                         where=outputs.path, do="Pass --drop_missing to leave them out")
    if missing:
        console.say(f"note: no truth for {missing} of {len(rows)} images, left out ({outputs.path})")


def _make_level(name, factor, outputs, columns, dims, scheme, published):
    """Return a Level from its columns {key: (N, K)}."""
    import numpy as np

    from common.rcps.choice import PUBLISHED
    from common.rcps.outputs import LOWER, POINT, TRUTH, UPPER
    from common.rcps.sets import first_covering, make_intervals

    truth, point, lower, upper = (columns[key] for key in (TRUTH, POINT, LOWER, UPPER))
    centre, scale = outputs.vector("mean", dims) if scheme in ("mean", "min_max") else np.float32(0), 1.0
    if scheme == "min_max":  # an affine map of truth and set alike: lambda stays, widths change
        scale = 2 / _spans(outputs, dims)
    if scheme == "min_max_legacy":  # the published map: of the values before the mean is added, and not of the truth
        low, span = outputs.vector("min", dims), _spans(outputs, dims)
        point, lower, upper = (2 * ((values - low) / span - 0.5) for values in (point, lower, upper))
    centred = [values + centre for values in (point, lower, upper)]  # in the files' own precision, as published
    first = None
    if published:
        below, above = np.maximum(centred[0] - centred[1], 0), np.maximum(centred[2] - centred[0], 0)
        first = first_covering(centred[0], below, above, truth, PUBLISHED)
        point, lower, upper, centre = *centred, np.float32(0)
    intervals = make_intervals(truth, point, lower, upper, centre)
    return Level(name, factor, outputs, intervals, np.float64(point) + np.float64(centre), np.float64(truth), scale,
                 first)


def _spans(outputs, dims):
    """Return max - min of some dims. Raises InputError where one is 0."""
    spans = outputs.vector("max", dims) - outputs.vector("min", dims)
    if not (spans > 0).all():
        raise InputError("minimum and maximum of a dim are equal", where=outputs.path,
                         do="Pass --norm_scheme mean, or leave that dim out")
    return spans
