"""Encode stored samples and the data set into features (run_lib_evaluation_fidis.py --encode)."""

import hashlib
import json
from dataclasses import dataclass, replace
from shlex import quote
from typing import List, Optional

from common import console, flags, parallel
from common.cli import run as run_command
from common.errors import InputError
from common.files import file_hash, plain
from common.options import option
from common.score.config_files import configuration_files
from tools.qc_ncsn import findings
from tools.qc_ncsn.data import fitted, note_changes
from tools.qc_ncsn.evaluate.stored import check_distinct, stored_text
from tools.qc_ncsn.model import WorkOptions, data_set_name, model_shape
from tools.qc_ncsn.series import check_several, run_series, series_folder, several
from tools.qc_ncsn.unreadable import stored_names
from tools.qc_ncsn.work_dir import WorkDir

PROG = "qc_ncsn eval encode"
DESCRIPTION = """\
Encode the stored samples of a work folder (eval_sampling[_ode]/<division>/samples_<round>.npz) into features,
stat[_ode]/generated_stat.npz, which fidis and prdc compare with those of the data set, stat[_ode]/dataset_stat.npz.
Memory does not grow with the number of images, and a killed run resumes: features are cached in parts."""

EPILOG = """\
examples:
  python -m tools.qc_ncsn eval encode --workdir digits --encode_dataset --dataset digits
  python -m tools.qc_ncsn eval encode --workdir digits --encode_dataset --dataset digits --split test --overwrite"""


@dataclass(kw_only=True)
class EncodeOptions(WorkOptions):
    """Flags of `qc_ncsn eval encode`."""

    encode: bool = option(False, "encode (the default)", kind="how")
    ode: bool = option(False, "use eval_sampling_ode and stat_ode")
    checkpoint_idx: List[int] = option([], "snapshots whose samples a series holds (sample --checkpoint_idx A B): one "
                                       "table and one curve of all", nargs="+", kind="how", metavar="NUMBER")
    features: Optional[str] = option(None, "feature space: Inception's pool_3 and logits, as for FID, or "
                                     "small-features-v1 (default: inception if its weights are found)",
                                     choices=["small", "inception"])
    weights: Optional[str] = option(None, "Inception weights, if not in one of the usual places", kind="how")
    encode_dataset: bool = option(False, "also encode the data set", kind="how")
    dataset: Optional[str] = option(None, "data set to encode: a name (digits, cifar10, ...) or a path (default: the "
                                    "one of the configuration)", kind="how")
    data_dir: Optional[str] = flags.data_dir()
    split: str = option("train", "split of the data set to encode; by convention the reference is the train split",
                        choices=["train", "test", "validation", "val"], kind="how")
    bs: int = flags.batch_size(2500, "--batch_size", "images per forward pass, at most 512 (Inception: 64)")
    device: str = flags.device()


@dataclass
class FeatureFile:
    """Images to encode into one file: their number, description, hash, and source (see common.features.encode)."""

    path: object
    count: int
    image_shape: tuple
    what: str
    digest: str
    images: object
    data_set: object = None  # the ImageSet behind `images`, if there is one

    def stored(self):
        """Return the text stored in the .npz, by which a later run sees that the file is up to date."""
        return json.dumps({"what": self.what, "images": self.count, "sha256": self.digest}, sort_keys=True)


def stat_folder(options):
    """Return the folder of the features."""
    return WorkDir(options.workdir).stat(options.ode)


def cli(words=None):
    """Run `qc_ncsn eval encode` on command-line words and return its exit status."""
    return run_command(main, EncodeOptions, PROG, DESCRIPTION, EPILOG, words, "eval encode",
                       lambda options: series_folder(options, "encode") if several(options) else stat_folder(options))


def settle(options):
    """Return the options with the feature space and, if it is encoded, the data set filled in."""
    from common.datasets import canonical_name, canonical_split
    from common.networks.inception_weights import find_inception

    features, dataset = options.features, options.dataset
    if features is None:
        try:
            features = "inception" if find_inception(options.weights) else None
        except InputError:
            if options.weights:
                raise
            features = "small"
            console.say("note: no Inception weights found, encoding in small-features-v1, which gives no FID; "
                        "--features inception says where they are published")
    if options.encode_dataset:
        dataset = data_set_name(options) if dataset is None else canonical_name(dataset)
    return replace(options, features=features, dataset=dataset, split=canonical_split(options.split))


def main(request):
    """Encode what is missing; returns an Outcome whose results name files, counts and the feature space."""
    from common.device import pick_device, set_precision
    from common.features.spaces import open_space
    from common.job import Job

    check_several(request)
    if several(request):
        return run_series(replace(request, encode_dataset=False), PROG, "encode", main, stat_folder,
                          request if request.encode_dataset else None)
    options = settle(request)
    sources = _check(options)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    space = open_space(options.features, "legacy_tensorflow", options.weights, device)
    job = Job(stat_folder(options), PROG, options, request=request, owns=[source.path.name for source in sources],
              content={source.path.name: source.stored() for source in sources}, inputs=_inputs(options),
              summary=findings.encode,
              about=[{"name": source.what, "images": source.count, "sha256": source.digest} for source in sources])

    def rehearse():
        plans = [f"would encode {source.count} images ({source.what}) into {source.path}" for source in sources]
        return "\n".join(plans), _results(sources, space)

    def work():
        for source in sources:
            if source.data_set is not None:
                note_changes(source.data_set)
        pending = [source for source in sources if not _is_current(source, space)]
        for source in pending:
            _encode(source, space, options)
        rows = [(source.path, source.what, source.count, "written" if source in pending else "up to date")
                for source in sources]
        console.show_table(f"Features: {space.name}", ("file", "images of", "count", ""), rows)
        ode = " --ode" * options.ode
        console.say(f"next: python -m tools.qc_ncsn eval fidis --workdir {quote(options.workdir)}{ode}")
        return _results(sources, space), [source.path for source in sources]

    return job.run(work, rehearse, device)


def _inputs(options):
    """Return the paths that are read, None if those of the data set are unknown."""
    from common.datasets import dataset_inputs

    data = dataset_inputs(options.dataset) if options.encode_dataset else []
    weights = [options.weights] if options.weights else []
    if data is None or (options.features == "inception" and not weights):  # searched for in several places
        return None
    work = WorkDir(options.workdir)
    return [work.sampling(options.ode), *data, *weights, *configuration_files(options.config),
            *([work.checkpoints] if options.encode_dataset else [])]


def _check(options):
    """Return the FeatureFiles after checking every input. Raises InputError."""
    work = WorkDir(options.workdir)
    sources = []
    if work.sample_files(options.ode) or not options.encode_dataset:
        sources.append(_samples(work, options.ode))
    if options.encode_dataset:
        sources.append(_data_set(work, options, sources[0].image_shape if sources else model_shape(options)))
        if sources[0].image_shape != sources[-1].image_shape:
            raise InputError(f"images are {sources[-1].image_shape}, the samples {sources[0].image_shape}",
                             where=f"--dataset {options.dataset}", do="Pass the data set the model was trained on")
    for source in sources:
        _check_replaceable(source, options)
    return sources


def _samples(work, ode):
    """Return the FeatureFile of all stored samples, divisions and rounds in numeric order."""
    import numpy as np

    from common.features.sources import SampleFiles
    from common.formats.npz import npz_shape

    files = work.sample_files(ode)
    if not files:
        raise InputError("no <division>/samples_<round>.npz here", where=work.sampling(ode),
                         do="Generate samples first: qc_ncsn sample")
    shapes = {}
    for path in files:
        shape, dtype = npz_shape(path, "samples")
        if len(shape) != 4 or dtype != np.uint8:
            raise InputError(f"'samples' is {dtype} {shape}, expected uint8 (n, height, width, channels)", where=path,
                             do="Generate these samples again")
        shapes[path] = shape
        if shape[1:] != shapes[files[0]][1:]:
            raise InputError(f"images are {shape[1:]}, those of {files[0]} are {shapes[files[0]][1:]}", where=path,
                             do="Keep the samples of each run in a work folder of their own")
    check_distinct(files)
    count = sum(shape[0] for shape in shapes.values())
    hashes = [(f"{path.parent.name}/{path.name}", file_hash(path)) for path in files]
    return FeatureFile(
        work.stat(ode) / "generated_stat.npz", count, shapes[files[0]][1:], "samples",
        hashlib.sha256(json.dumps(hashes).encode()).hexdigest(),
        SampleFiles(files, str(work.sampling(ode))),
    )


def _data_set(work, options, shape):
    """Return the FeatureFile of one split of the data set.

    The user's own images, and those that the model was trained on, are brought to a shape (H, W, C) as training does;
    those of another known data set stay as they are.
    """
    from common.datasets import KNOWN, open_dataset
    from common.features.sources import ArrayRows

    if options.dataset is None:
        raise InputError("needed with --encode_dataset", where="--dataset",
                         do="Pass the data set the model was trained on")
    absent = stored_names(work.training) or None
    if shape is None or (options.dataset in KNOWN and options.dataset != data_set_name(options)):
        images = open_dataset(options.dataset, options.split, options.data_dir)
    else:
        images = fitted(options.dataset, options.split, options.data_dir, shape[:2], shape[2], absent)
    identity = json.dumps(plain(images.fingerprint()), sort_keys=True)
    return FeatureFile(
        work.stat(options.ode) / "dataset_stat.npz", len(images), tuple(images.image_shape),
        f"{options.dataset}, {options.split} split", hashlib.sha256(identity.encode()).hexdigest(),
        ArrayRows(images, f"{options.dataset}, {options.split} split"), images,
    )


def _check_replaceable(source, options):
    """Raise InputError when the output has features that this command must not replace without --overwrite."""
    if options.overwrite or not source.path.exists():
        return
    stored = _stored_source(source.path)
    if stored is None:
        raise InputError("already exists, with features from elsewhere", where=source.path,
                         do="fidis and prdc can use it; --overwrite replaces it")
    if stored["what"] != source.what:
        raise InputError(f"holds the features of {stored['what']}, this command asks for {source.what}",
                         where=source.path,
                         do="Use the same --dataset and --split, another folder, or --overwrite to start over")


def _stored_source(path):
    text = stored_text(path, "source")
    return None if text is None else json.loads(text)


def _is_current(source, space):
    """True when the file has the features of exactly these images."""
    if not source.path.exists():
        return False
    current = stored_text(source.path, "source") == source.stored()
    if not current:
        console.say(f"{source.path}: the images have changed, encoding them again")
    return current and stored_text(source.path, "features") == space.name


def _encode(source, space, options):
    """Write the features (and logits, where the network has them) of all images of a FeatureFile."""
    import numpy as np

    from common.features.encode import encode
    from common.formats.npz import write_npz_rows
    from common.formats.rows import blocks

    largest = 64 if space.is_inception else 512
    encoded = encode(source.images, space, min(options.bs, largest), overwrite=options.overwrite,
                     label=f"encoding {source.what}")
    if encoded.excluded:
        title, reason = encoded.excluded[0]
        raise InputError(reason, where=title, do="Generate these samples again")
    if not parallel.is_main():
        return
    with encoded.statistics() as statistics:
        rows, logits = statistics.features, statistics.logits
        more = [] if logits is None else [("logit", logits.shape, np.float32, blocks(logits))]
        write_npz_rows(source.path, "pool_3", rows.shape, np.float32, blocks(rows), more,
                       features=np.array(space.name), source=np.array(source.stored()))


def _results(sources, space):
    """Return the results: these files, and the data set's file from an earlier run if there is one."""
    entries = {source.path: (source.count, source.what) for source in sources}
    data_set = sources[0].path.with_name("dataset_stat.npz")
    if data_set not in entries and data_set.exists() and (stored := _stored_source(data_set)):
        entries[data_set] = (stored["images"], stored["what"])
    results = {"features": space.name, "features_description": space.description}
    for path, (count, what) in entries.items():
        kind = path.name.removesuffix("_stat.npz")
        results |= {f"num_{kind}": count, f"{kind}_stat": str(path), f"{kind}_images": what}
    return results
