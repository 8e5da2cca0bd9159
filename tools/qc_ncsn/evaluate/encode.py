"""Encode stored samples, and the data set beside them, into features (run_lib_evaluation_fidis.py --encode)."""

import hashlib
import json
from dataclasses import dataclass
from typing import Optional

from common import console, parallel
from common.cli import REQUIRED, CommonOptions, Outcome, option
from common.cli import run as run_command
from common.errors import InputError
from common.files import check_writable, file_hash, plain, remove_leftovers
from tools.qc_ncsn.evaluate.stored import check_distinct, stored_text
from tools.qc_ncsn.work_dir import WorkDir

DESCRIPTION = """\
Encode the stored samples of a work folder (eval_sampling[_ode]/<division>/samples_<round>.npz) into features,
stat[_ode]/generated_stat.npz, which fidis and prdc compare with those of the data set, stat[_ode]/dataset_stat.npz.
Memory does not grow with the number of images, and a killed run goes on: features are made in parts, in the cache."""

EPILOG = """\
examples:
  python -m tools.qc_ncsn eval encode --workdir digits --encode_dataset --dataset digits
  python -m tools.qc_ncsn eval encode --workdir digits --encode_dataset --dataset digits --split test --overwrite"""


@dataclass(kw_only=True)
class EncodeOptions(CommonOptions):
    """Flags of `qc_ncsn eval encode`."""

    workdir: str = option(REQUIRED, "work folder: results/NAME, or an absolute or dotted path", kind="how")
    ode: bool = option(False, "use eval_sampling_ode and stat_ode")
    features: str = option("small", "feature space: small-features-v1, or Inception's pool_3 and logits, as for FID",
                           choices=["small", "inception"])
    weights: Optional[str] = option(None, "Inception's weights, where they are not in the usual places", kind="how")
    encode_dataset: bool = option(False, "also encode the data set", kind="how")
    dataset: Optional[str] = option(None, "data set to encode: a name (digits, cifar10, ...) or a path", kind="how")
    data_dir: Optional[str] = option(None, "folder that holds the data set's files", kind="how")
    split: str = option("train", "split of the data set to encode; the reference is by convention the train split",
                        choices=["train", "test"], kind="how")
    bs: int = option(2500, "images that go through the network together, at most 512, of Inception 64", kind="how")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps", kind="how")


@dataclass
class Source:
    """Images to encode into one file: count, description, identity, a source of common.features.encode."""

    path: object
    count: int
    image_shape: tuple
    what: str
    digest: str
    images: object

    def stored(self):
        """Return the text kept in the .npz, by which a later run knows that the file is up to date."""
        return json.dumps({"what": self.what, "images": self.count, "sha256": self.digest}, sort_keys=True)


def cli(words=None):
    """Run `qc_ncsn eval encode` on command-line words and return its exit status."""
    return run_command(main, EncodeOptions, "qc_ncsn eval encode", DESCRIPTION, EPILOG, words, "eval encode")


def main(options):
    """Encode what is not encoded yet; returns an Outcome whose results name files, counts and the feature space."""
    from common.device import pick_device, set_precision
    from common.features.spaces import open_space

    sources = _check(options)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    space = open_space(options.features, "legacy_tensorflow", options.weights, device)
    if options.dry_run:
        for source in sources:
            console.say(f"would encode {source.count} images ({source.what}) into {source.path}")
        return Outcome(_results(sources, space), [])
    pending = [source for source in sources if options.overwrite or not _is_current(source, space)]
    folder = sources[0].path.parent
    check_writable(folder)
    with parallel.process_group(device.type):
        if parallel.is_main():
            remove_leftovers(folder)
        for source in pending:
            _encode(source, space, options)
    if not parallel.is_main():
        return Outcome({})
    rows = [(source.path, source.what, source.count, "written" if source in pending else "up to date")
            for source in sources]
    console.show_table(f"Features: {space.name}", ("file", "images of", "count", ""), rows)
    console.say(f"next: python -m tools.qc_ncsn eval fidis --workdir "
                f"{options.workdir}{' --ode' if options.ode else ''}")
    record = _record(options, sources, folder)
    return Outcome(_results(sources, space), [source.path for source in sources],
                   record if pending or not record.path.exists() else None)


def _check(options):
    """Return the Sources after checking every input. Raises InputError."""
    if options.bs < 1:
        raise InputError(f"{options.bs} images at a time", where="--bs", do="Give 1 or more")
    work = WorkDir(options.workdir)
    sources = []
    if work.sample_files(options.ode) or not options.encode_dataset:
        sources.append(_samples(work, options.ode))
    if options.encode_dataset:
        sources.append(_data_set(work, options))
        if sources[0].image_shape != sources[-1].image_shape:
            raise InputError(f"images are {sources[-1].image_shape}, the samples {sources[0].image_shape}",
                             where=f"--dataset {options.dataset}", do="Name the data set the model was trained on")
    for source in sources:
        _check_replaceable(source, options)
    return sources


def _samples(work, ode):
    """Return the Source of all stored samples, divisions and rounds in numeric order."""
    import numpy as np

    from common.features.sources import SampleFiles
    from common.formats.npz import npz_shape

    files = work.sample_files(ode)
    if not files:
        raise InputError("no <division>/samples_<round>.npz here", where=work.sampling(ode),
                         do="Draw samples first: qc_ncsn sample")
    shapes = {}
    for path in files:
        shape, dtype = npz_shape(path, "samples")
        if len(shape) != 4 or dtype != np.uint8:
            raise InputError(f"'samples' is {dtype} {shape}, expected uint8 (n, height, width, channels)", where=path,
                             do="Draw these samples again")
        shapes[path] = shape
        if shape[1:] != shapes[files[0]][1:]:
            raise InputError(f"images are {shape[1:]}, those of {files[0]} are {shapes[files[0]][1:]}", where=path,
                             do="Keep samples of one run in a work folder")
    check_distinct(files)
    count = sum(shape[0] for shape in shapes.values())
    hashes = [(f"{path.parent.name}/{path.name}", file_hash(path)) for path in files]
    return Source(
        work.stat(ode) / "generated_stat.npz", count, shapes[files[0]][1:], "samples",
        hashlib.sha256(json.dumps(hashes).encode()).hexdigest(),
        SampleFiles(files, str(work.sampling(ode))),
    )


def _data_set(work, options):
    """Return the Source of one split of the data set."""
    from common.datasets import open_dataset
    from common.features.sources import ArrayRows

    if options.dataset is None:
        raise InputError("needed with --encode_dataset", where="--dataset",
                         do="Name the data set the model was trained on")
    images = open_dataset(options.dataset, options.split, options.data_dir)
    identity = json.dumps(plain(images.fingerprint()), sort_keys=True)
    return Source(
        work.stat(options.ode) / "dataset_stat.npz", len(images), tuple(images.image_shape),
        f"{options.dataset}, {options.split} split", hashlib.sha256(identity.encode()).hexdigest(),
        ArrayRows(images, f"{options.dataset}, {options.split} split"),
    )


def _check_replaceable(source, options):
    """Raise InputError when the output holds something that this command must not replace unasked."""
    if options.overwrite or not source.path.exists():
        return
    stored = _stored_source(source.path)
    if stored is None:
        raise InputError("is there already, with features that this tool did not make", where=source.path,
                         do="fidis and prdc use it as it is; --overwrite replaces it")
    if stored["what"] != source.what:
        raise InputError(f"holds the features of {stored['what']}, this command asks for {source.what}",
                         where=source.path,
                         do="Use the same --dataset and --split, another folder, or --overwrite to start anew")


def _stored_source(path):
    text = stored_text(path, "source")
    return None if text is None else json.loads(text)


def _is_current(source, space):
    """True when the file holds the features of just these images."""
    if not source.path.exists():
        return False
    current = stored_text(source.path, "source") == source.stored()
    if not current:
        console.say(f"{source.path}: the images have changed since, encoding them anew")
    return current and stored_text(source.path, "features") == space.name


def _encode(source, space, options):
    """Write the features (and logits, where the network has them) of all images of a Source."""
    import numpy as np

    from common.features.encode import encode
    from common.formats.npz import write_npz_rows
    from common.formats.rows import blocks

    largest = 64 if space.is_inception else 512
    encoded = encode(source.images, space, min(options.bs, largest), overwrite=options.overwrite,
                     label=f"encoding {source.what}")
    if encoded.excluded:
        title, reason = encoded.excluded[0]
        raise InputError(reason, where=title, do="Draw these samples again")
    if not parallel.is_main():
        return
    with encoded.statistics() as statistics:
        rows, logits = statistics.features, statistics.logits
        more = [] if logits is None else [("logit", logits.shape, np.float32, blocks(logits))]
        write_npz_rows(source.path, "pool_3", rows.shape, np.float32, blocks(rows), more,
                       features=np.array(space.name), source=np.array(source.stored()))


def _results(sources, space):
    """Return the results: the files of these Sources, and the data set's file that an earlier run may have left."""
    told = {source.path: (source.count, source.what) for source in sources}
    data_set = sources[0].path.with_name("dataset_stat.npz")
    if data_set not in told and data_set.exists() and (stored := _stored_source(data_set)):
        told[data_set] = (stored["images"], stored["what"])
    results = {"features": space.name, "features_description": space.description}
    for path, (count, what) in told.items():
        kind = path.name.removesuffix("_stat.npz")
        results |= {f"num_{kind}": count, f"{kind}_stat": str(path), f"{kind}_images": what}
    return results


def _record(options, sources, folder):
    from common.job import RunRecord

    inputs = [{"name": source.what, "images": source.count, "sha256": source.digest} for source in sources]
    return RunRecord(folder, "qc_ncsn eval encode", options, inputs=inputs)
