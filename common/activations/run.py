"""A job that fills a tree with activations: what extraction and generation have in common."""

import time

from common import parallel
from common.activations.capture import layer_widths
from common.activations.job import Store, run_units, split_units
from common.activations.layout import Tree, write_info
from common.activations.store import NpyForm, NpzForm
from common.errors import InputError


def earlier_options(tree, overwrite):
    """Return the options {name: value} of the run that is in a tree, {} when there is none (or it is to go)."""
    from common.files import read_json

    path = tree.metadata / "run.json"
    if overwrite or not path.exists():
        return {}
    try:
        told = read_json(path)
    except InputError:
        return {}  # RunRecord says what is wrong with it
    return told.get("options") or {} if isinstance(told, dict) else {}


def layer_names(text):
    """Return the names of a `--layers` value; InputError when there is none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError("no layer is named", where="--layers", do="Give names such as encoder_bottleneck,midblock")
    return names


def check_counts(options, *names):
    """Raise InputError for options that are given and below 1."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError("must be at least 1", where=f"--{name} {value}", do="Correct the value")


def check_seed(seed):
    """Raise InputError for a seed that numpy's RandomState does not take."""
    if not 0 <= seed < 2**32:
        raise InputError("a seed is a whole number from 0 below 2^32", where=f"--seed {seed}", do="Correct the value")


def open_network(options, device):
    """Return (EDMPrecond on the device, {"name", "sha256"} of its file); its layers are checked against the options.

    options: checkpoint_path, weights, part, precision, compile, layers, pool.
    """
    from common.device import set_precision
    from common.files import file_hash
    from common.networks.adm_weights import find_adm, load_adm

    path = find_adm(options.checkpoint_path, options.part)
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    network = load_adm(path, device, options.weights, options.part, options.precision)
    layer_widths(network.config, layer_names(options.layers), options.pool)  # unknown names are refused here
    if network.config.img_channels != 3:
        raise InputError(f"the network makes images of {network.config.img_channels} channels", where=path,
                         do="Give a network for RGB images")
    if options.compile:
        import torch

        network.model = torch.compile(network.model)
    return network, {"name": path.name, "sha256": file_hash(path)}


class ActivationRun:
    """One job on one tree. A subclass says how units are loaded, computed and recorded, and what heads the metadata.

    options: output_dir, layers, pool, dtype, format, batch_size, samples_per_file, num_workers, overwrite.
    indices: (n,) int64, what the samples are in the source.
    """

    tool, with_json, label = "", False, ""

    def __init__(self, options, model, network, indices):
        self.options, self.network, self.tree = options, network, Tree(options.output_dir, model)
        if options.samples_per_file is None:  # files keep the size that the first run gave them
            earlier = earlier_options(self.tree, options.overwrite)
            options.samples_per_file = earlier.get("samples_per_file") or options.batch_size
        self.layers = layer_names(options.layers)
        options.layers = ",".join(self.layers)
        widths = layer_widths(network.config, self.layers, options.pool)
        kind = NpzForm if options.format == "npz" else NpyForm
        self.form = kind(self.tree, widths, options.dtype, len(indices), options.samples_per_file)
        self.units = split_units(indices, options.samples_per_file)
        self.store = Store(self.tree, self.form, self.with_json)
        self.record, self.anew = None, False

    def make_record(self, derived):
        """Set and compare the run's record; InputError when another job, or another program's output, is in the
        tree."""
        from common.job import RunRecord

        self.record = RunRecord(self.tree.metadata, self.tool, self.options, derived)
        if not parallel.is_main():
            return
        self.record.compare()
        there = self.tree.info.exists() or any(self.tree.activations.glob("*"))
        if there and not self.record.path.exists() and not self.options.overwrite:
            raise InputError("activations are there already, and no record tells how they were made",
                             where=self.tree.activations,
                             do="Choose another --output_dir, or --overwrite to replace them")

    def begin(self):
        """Return the results of this very job when it is done; else make folders and files ready."""
        from common.files import remove_leftovers

        tree = self.tree
        places = [tree.activations, tree.images, tree.reconstructed]
        earlier = self.record.begin([*places, tree.info])
        if earlier is None:
            remove_leftovers(tree.metadata, places)
            self.form.prepare()
        return earlier

    def work(self):
        """Make what is missing and write the metadata; returns the results (in the main process; {} in others)."""
        parallel.barrier()  # the folders are ready
        self.prepare()
        missing = [unit for unit in self.units if not self.store.is_complete(unit)]
        parallel.barrier()  # all have looked before any writes
        began = time.monotonic()
        run_units(parallel.shard(missing), self.load, self.compute, self.store, self.label, self.options.num_workers)
        parallel.barrier()
        if not parallel.is_main():
            return {}
        seconds = max(time.monotonic() - began, 1e-9)
        rate = sum(len(unit.indices) for unit in missing) / seconds if missing else None
        left_out = [told for unit in self.units for told in self.store.left_out(unit).values()]
        count = sum(len(unit.indices) for unit in self.units) - len(left_out)
        if count == 0:
            raise InputError(f"no image can be read ({left_out[0][1]})", where=left_out[0][0], do="Check the source")
        self.form.finish()
        write_info(self.tree.info, self.head(count, left_out), self.samples(), count)
        return self.conclude(count, left_out, rate)

    def outputs(self):
        """Return the files that a finished run must have."""
        return [self.tree.info, *self.form.outputs()] if parallel.is_main() else []

    def stored_as(self):
        """Return the entries of the metadata that say how activations are stored."""
        return {"pool": self.options.pool, "dtype": self.options.dtype, "format": self.options.format,
                "widths": self.form.widths}

    def prepare(self):
        """Make the source ready; in every process, before units are loaded."""

    def load(self, unit):
        """Return what `compute` needs of a unit; called in a thread, ahead."""
        return unit

    def compute(self, loaded):
        """Return the Made of a unit."""
        raise NotImplementedError

    def samples(self):
        """Yield the records of all samples, in order."""
        raise NotImplementedError

    def head(self, count, left_out):
        """Return the metadata before the samples."""
        raise NotImplementedError

    def conclude(self, count, left_out, rate):
        """Say what there is, and return the results."""
        raise NotImplementedError


def carry_out(run, device, found):
    """Do a run's work, inside the process group, and return its Outcome; `found` is said when it was done before."""
    from common import console
    from common.cli import Outcome
    from common.device import describe

    earlier = parallel.gather_objects(run.begin() if parallel.is_main() else None)[0]
    if earlier is not None:
        console.say(found)
        return Outcome(earlier, record=run.record)
    results = run.work()
    run.record.extra = {"machine": describe(device)}
    return Outcome(results, run.outputs(), run.record)
