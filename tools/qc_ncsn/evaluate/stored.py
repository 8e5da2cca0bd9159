"""Reading of a finished work folder: encoded features, likelihoods, asymmetries.

Layout of run_lib_evaluation*.py: stat[_ode]/{generated,dataset}_stat.npz (pool_3 (n, d), logit (n, c), float32; logit
may be missing), nll/bpd_<batch>.npz (bpd (b,), nfe), asym/repeat_<r>.npz (asym (T,), nasym (T,)). Ours adds `features`,
the name of the feature space; files without it have Inception's pool_3, as the original wrote them.
"""

import math
from pathlib import Path

from common.errors import InputError
from common.files import read_npz

INCEPTION = "inception"


def open_generated(path):
    """Return the Statistics (common.features.statistics) of encoded images; rows and logits stay on disk.

    Raises InputError for a file that is missing, broken, foreign, or has no features.
    """
    from common.features.statistics import read_statistics

    statistics = read_statistics(path)
    if statistics.features is None:
        raise InputError("holds mean and covariance, not features", where=path, do="Encode the samples again")
    return statistics


def is_inception(statistics):
    """Return whether a Frechet distance in these features is a FID: unnamed ones are Inception's."""
    return str(statistics.meta.get("extractor", INCEPTION)).startswith(INCEPTION)


def stored_text(path, name):
    """Return the text stored as array `name` of an .npz file, or None."""
    text = read_npz(path, optional=(name,)).get(name)
    return None if text is None else str(text.reshape(-1)[0])


def find_reference(work, ode=False, stats=None, dataset=None, work_only=False):
    """Return the path of the data set's features: --stats, or the first existing one of the usual places.

    Raises InputError that lists all of them.
    """
    if stats is not None:
        return Path(stats)
    places = work.reference_places(ode)
    if dataset is not None and not work_only:
        places += [Path("results") / f"{dataset}_stats.npz", Path("results/stats") / dataset / "stats.npz"]
    for place in places:
        if place.exists():
            return place
    hint = "" if dataset or work_only else "; --dataset NAME also searches results/"
    raise InputError(
        f"no features of the data set (searched {', '.join(map(str, places))})", where=work.stat(ode),
        do=f"Create them with qc_ncsn eval encode --encode_dataset, or pass a file with --stats{hint}",
    )


def features_name(statistics):
    """Return the feature space of Statistics and its preprocessing, such as inception-clean."""
    known = [str(statistics.meta[name]) for name in ("extractor", "resize") if name in statistics.meta]
    return "-".join(known) or INCEPTION


def check_comparable(generated, reference):
    """Raise InputError unless two Statistics hold features of the same space; unnamed ones may have any
    preprocessing."""
    names = [features_name(side) for side in (generated, reference)]
    same = names[0] == names[1] or (is_inception(generated) and is_inception(reference) and INCEPTION in names)
    if same and generated.width == reference.width:
        return
    spaces = [f"{name} ({side.width} dimensions)" for name, side in zip(names, (generated, reference))]
    raise InputError(f"the features are {spaces[1]}, those of {generated.path} are {spaces[0]}", where=reference.path,
                     do="Encode both with the same --features (setup_fid: and --mode legacy_tensorflow)")


def read_numbers(path, required, optional=()):
    """Return arrays of a .npz file by name; InputError for a broken file, and for one that is empty or no numbers."""
    arrays = read_npz(path, required=required, optional=optional)
    for name, array in arrays.items():
        if array.dtype.kind not in "iuf" or not array.size:
            raise InputError(f"'{name}' is {array.dtype} {array.shape}, expected numbers", where=path,
                             do="Delete the file and compute it again")
    return arrays


def read_nll(folder):
    """Return the content of nll/bpd_<batch>.npz: bits_per_dim and its standard error over images, nfe, counts.

    Each image counts once, whatever its batch. {"bits_per_dim", "bits_per_dim_stderr", "nfe" (integer part of the mean
    over batches, as the original prints), "num_images", "num_files"}.
    Raises InputError when there are none, for NaN, and for files left by another run.
    """
    import numpy as np

    files = _numbered(folder, "bpd_")
    read = [read_numbers(path, ("bpd", "nfe"), ("repeat", "index")) for path in files]
    for path, entry in zip(files, read):
        is_number = entry["nfe"].size == 1 and np.isfinite(entry["nfe"]).all()
        if not is_number or entry.get("index", entry["bpd"]).size != entry["bpd"].size:
            raise InputError("'nfe' is not a single finite number, or 'index' is not of as many images as 'bpd'",
                             where=path, do="Delete the file and compute it again")
    if not check_distinct(files):
        _check_sizes(files, [entry["bpd"].size for entry in read])
    for path, entry in zip(files, read):
        if not np.isfinite(entry["bpd"]).all():
            raise InputError("'bpd' has NaN or infinite values", where=path, do="Delete the file and compute it again")
    bpd = np.concatenate([entry["bpd"].reshape(-1) for entry in read]).astype(np.float64)
    images = _means_by_image(bpd, read)
    spread = float(images.std(ddof=1) / math.sqrt(len(images))) if len(images) > 1 else None
    nfe = int(np.mean([entry["nfe"].reshape(()) for entry in read]))
    return {
        "bits_per_dim": float(bpd.mean()), "bits_per_dim_stderr": spread, "nfe": nfe,
        "num_images": len(images), "num_files": len(files),
    }


def _means_by_image(values, read):
    """Return the mean over repeats of each image, (images,), of values in the order of the files; those of the original
    do not say which images they hold, and count one by one."""
    import numpy as np

    if not all("index" in entry for entry in read):
        return values
    index = np.concatenate([entry["index"].reshape(-1) for entry in read])
    _, place = np.unique(index, return_inverse=True)
    return np.bincount(place, weights=values) / np.bincount(place)


def check_distinct(files):
    """Return True when our files (with `index`, their image numbers) have each image once, False for foreign files.

    Raises InputError when two files have the same image of the same repeat, or only some have an `index`: files that an
    older run left behind.
    """
    seen, foreign = {}, []
    for path in files:
        entry = read_numbers(path, (), ("index", "repeat"))
        if "index" not in entry:
            foreign.append(path)
            continue
        repeat = entry.get("repeat")
        if repeat is not None and repeat.size != 1:
            raise InputError(f"'repeat' has shape {repeat.shape}, expected one number", where=path,
                             do="Delete the file and compute it again")
        repeat = 0 if repeat is None else int(repeat.reshape(-1)[0])
        for image in entry["index"].reshape(-1).tolist():
            if (repeat, image) in seen:
                raise InputError(f"image {image} is also in {seen[repeat, image]}: files of different runs are mixed",
                                 where=path, do="Delete the files of the older run, or use --overwrite")
            seen[repeat, image] = path
    if foreign and seen:
        raise InputError(f"has no 'index', {next(iter(seen.values()))} has one: files of different runs are mixed",
                         where=foreign[0], do="Delete the files of the older run, or use --overwrite")
    return not foreign


def _check_sizes(files, sizes):
    """Raise InputError unless all files have as many images as the first, the last one possibly fewer."""
    for path, size in zip(files, sizes):
        if size != sizes[0] and not (path == files[-1] and size < sizes[0]):
            raise InputError(
                f"has {size} images, {files[0].name} {sizes[0]}: files of runs with different batch sizes are mixed",
                where=path, do="Delete the files of the older run, or compute again with --overwrite",
            )


def read_asym(folder):
    """Return the content of asym/repeat_<r>.npz, means over levels and repeats.

    {"asym", "nasym", "asym_levels" (T,), "nasym_levels" (T,), "num_levels", "num_files"}. The original stores asym
    under both names; then nasym and nasym_levels are None: its value is not in the file.
    Raises InputError when there are none, for NaN, and for repeats with different numbers of levels.
    """
    import numpy as np

    files = _numbered(folder, "repeat_")
    read = [read_numbers(path, ("asym", "nasym")) for path in files]
    for path, entry in zip(files, read):
        for name in ("asym", "nasym"):
            if entry[name].shape != read[0]["asym"].shape:
                raise InputError(
                    f"'{name}' has shape {entry[name].shape}, 'asym' of {files[0].name} {read[0]['asym'].shape}",
                    where=path, do="Delete the files of the older run, or compute again with --overwrite",
                )
            if not np.isfinite(entry[name]).all():
                raise InputError(f"'{name}' has NaN or infinite values", where=path,
                                 do="Delete the file and compute it again")
    levels = {name: np.mean([entry[name] for entry in read], axis=0, dtype=np.float64) for name in ("asym", "nasym")}
    missing = any(np.array_equal(entry["asym"], entry["nasym"]) for entry in read)
    return {
        "asym": float(levels["asym"].mean()), "nasym": None if missing else float(levels["nasym"].mean()),
        "asym_levels": levels["asym"], "nasym_levels": None if missing else levels["nasym"],
        "num_levels": levels["asym"].size, "num_files": len(files),
    }


def _numbered(folder, stem):
    """Return the files <stem><number>.npz of a folder by number. Raises InputError when there is none, or a gap."""
    files = [path for path in Path(folder).glob(f"{stem}*.npz") if path.stem.removeprefix(stem).isdecimal()]
    files.sort(key=lambda path: int(path.stem.removeprefix(stem)))
    if not files:
        raise InputError(f"no {stem}<number>.npz here", where=folder, do="Compute it first (without --read)")
    for number, path in enumerate(files):
        if path.stem != f"{stem}{number}":
            raise InputError(f"{stem}{number}.npz is missing, later ones exist", where=folder,
                             do="Run again without --read: only missing files are computed")
    return files
