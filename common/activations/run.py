"""A job that fills a tree with activations, shared by extraction and generation."""

import os
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from common import parallel
from common.activations.capture import layer_widths
from common.activations.flat import NpyForm
from common.activations.job import Store, split_units
from common.activations.layout import Tree, write_info
from common.activations.store import NpzForm
from common.errors import InputError, Parameter
from common.files import remove_tree
from common.job import Job
from common.numerals import counted
from common.units import make_pipelined


def earlier_options(tree, overwrite):
    """Return the options {name: value} of an earlier run in a tree, {} when there is none or it is overwritten."""
    from common.files import read_json

    path = tree.metadata / "run.json"
    if overwrite or not path.exists():
        return {}
    try:
        record = read_json(path)
    except InputError:
        return {}  # the job reports what is wrong with it
    return record.get("options") or {} if isinstance(record, dict) else {}


def layer_names(text):
    """Return the names of a `--layers` value; InputError when there is none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError("expected at least one layer", where=Parameter("layers"),
                         do="Pass names such as encoder_bottleneck,midblock")
    return names


def checkpoint_or_default(path):
    """Return the path of the network's file: the one given, or the only imagenet_*.pth where the originals' documents
    keep theirs. Raises InputError where there is none, or more than one."""
    if path is not None:
        return path
    files = sorted(file for folder in ("checkpoints", "../checkpoints") for file in Path(folder).glob("imagenet_*.pth"))
    if len(files) != 1:
        what = f"{counted(len(files), 'file')} imagenet_*.pth in checkpoints/ and ../checkpoints/" if files else \
            "no network is named, and no imagenet_*.pth is in checkpoints/ or ../checkpoints/"
        raise InputError(what, where=Parameter("checkpoint_path"), do="Name the file")
    return str(files[0])


def open_network(path, layers, pool, device, *, weights="ema", part="generator", precision="fp32", compile=False,
                 model_flags=None):
    """Return (EDMPrecond or DiscretePrecond on the device, {"path", "sha256"} of its file).

    layers, pool: the requested activations; InputError for unknown layers, before any slow work.  weights, part,
    precision, model_flags: see common.networks.adm_weights.load_adm; with model_flags the hash covers what they say.
    """
    import hashlib

    from common.device import set_precision
    from common.files import file_hash
    from common.networks.adm_weights import find_adm, load_adm

    path = find_adm(path, part)
    set_precision("tf32" if precision == "tf32" else "fp32")
    network = load_adm(path, device, weights, part, precision, model_flags)
    layer_widths(network.config, layer_names(layers), pool)
    if network.config.img_channels != 3:
        raise InputError(f"the network's images have {network.config.img_channels} channels", where=path,
                         do="Use a network for RGB images")
    if compile:
        import torch

        network.model = torch.compile(network.model)
    identity = file_hash(path)
    if model_flags is not None:
        identity = hashlib.sha256(f"{identity} {network.config.to_kwargs()}".encode()).hexdigest()
    return network, {"path": str(path), "sha256": identity}


class ActivationRun(ABC):
    """One job on one tree. A subclass defines how units are loaded, computed and recorded, and the metadata's head.

    options: output_dir, layers, pool, dtype, format, batch_size, samples_per_file, num_workers, overwrite.
    indices: (n,) int64, the samples' numbers in the source.
    """

    tool, with_json, label = "", False, ""
    summary = None  # results -> summary

    def __init__(self, request, options, model, network, indices):
        self.request, self.network, self.tree = request, network, Tree(options.output_dir, model)
        self.layers = layer_names(options.layers)
        self.options = options = self._settled(options)
        widths = layer_widths(network.config, self.layers, options.pool)
        shape = (self.tree, widths, options.dtype, len(indices), options.samples_per_file)
        self.form = NpzForm(*shape, options.compress) if options.format == "npz" else NpyForm(*shape)
        self.units = split_units(indices, options.samples_per_file)
        self.store = Store(self.tree, self.form, self.layers if self.with_json else None, self.picture_paths)

    def _settled(self, options):
        """Return the options with those filled in that go on as the folder began: size and compression of the files."""
        earlier = earlier_options(self.tree, options.overwrite)
        if options.compress and options.format != "npz":
            raise InputError("only npz files are compressed", where=Parameter("compress"), do="Use --format npz")
        # runs that were recorded before there was a choice compressed their files
        compress = options.compress or (options.format == "npz" and bool(earlier and earlier.get("compress", True)))
        per_file = options.samples_per_file or earlier.get("samples_per_file") or options.batch_size
        return replace(options, samples_per_file=per_file, layers=",".join(self.layers), compress=compress)

    def carry_out(self, derived, inputs, rehearse, device):
        """Run the job and return its Outcome; see common.job.Job for the arguments."""
        tree = self.tree
        places = [tree.activations, tree.images, tree.reconstructed, tree.info]
        job = Job(tree.metadata, self.tool, self.options, request=self.request, derived=derived, inputs=inputs,
                  owns=[os.path.relpath(place, tree.metadata) for place in places],
                  summary=self.summary)
        old = self.form.old_layout()
        if old is not None and not self.options.overwrite and job.answer() is None:
            raise InputError("this set was begun in the earlier layout, one .npy for each layer, which is still read "
                             "but not extended", where=old, do="Use another folder, or --overwrite to start over")
        return job.run(self.work, rehearse, device)

    def work(self):
        """Compute the missing units and write the metadata; returns (results, files) in the main process.

        Where bad input ends it before a sample is stored, all that was begun is removed again.
        """
        try:
            return self._work()
        except InputError:
            if parallel.is_main() and not any(True for _ in self.store.stored(self.units)):
                self.form.close()
                for folder in (self.tree.activations, self.tree.images, self.tree.reconstructed):
                    remove_tree(folder)
            raise

    def _work(self):
        if parallel.is_main():
            self.form.prepare()
        parallel.barrier()  # the folders are ready
        self.prepare()
        began = time.monotonic()
        missing = make_pipelined(self.units, self.store.is_complete, self.load, self.compute, self.store.write,
                                 self.label, lambda unit: len(unit.indices), self.options.num_workers)
        if not parallel.is_main():
            return {}, []
        seconds = max(time.monotonic() - began, 1e-9)
        rate = sum(len(unit.indices) for unit in missing) / seconds if missing else None
        left_out = [entry for unit in self.units for entry in self.store.left_out(unit).values()]
        count = sum(len(unit.indices) for unit in self.units) - len(left_out)
        if count == 0:
            raise InputError(f"no readable image ({left_out[0][1]})", where=left_out[0][0], do="Check the source")
        self.form.finish()
        write_info(self.tree.info, self.head(count, left_out), self.samples(), count)
        return self.conclude(count, left_out, rate), [self.tree.info, *self.form.outputs()]

    def stored_as(self):
        """Return the metadata entries that describe how activations are stored."""
        return {"pool": self.options.pool, "dtype": self.options.dtype, "format": self.options.format,
                "widths": self.form.widths}

    @abstractmethod
    def picture_paths(self, position):
        """Return the paths of the pictures of the sample at a position."""

    def prepare(self):  # noqa: B027 (most sources need none)
        """Prepare the source; called in every process before units are loaded."""

    def load(self, unit):
        """Return the input of `compute` for a unit; called in a thread, ahead of time."""
        return unit

    @abstractmethod
    def compute(self, loaded):
        """Return the UnitResult of a unit."""

    @abstractmethod
    def samples(self):
        """Yield the records of all samples, in order."""

    @abstractmethod
    def head(self, count, left_out):
        """Return the metadata entries before the samples."""

    @abstractmethod
    def conclude(self, count, left_out, rate):
        """Print a summary and return the results."""
