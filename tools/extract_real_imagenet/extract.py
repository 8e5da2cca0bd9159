"""From flags to a tree of activations: check everything, choose the samples, run the units, write the metadata."""

from common import console, parallel
from common.cli import Outcome
from common.errors import InputError


def extract(options):
    """Run the extraction; results: num_samples, left_out, layers, features, images_per_second, output_dir, ..."""
    from common.activations.capture import check_feeding
    from common.device import describe, pick_device, set_precision
    from common.files import check_writable
    from tools.extract_real_imagenet.sources import open_source

    check_flags(options)
    check_feeding(options.input_mode, options.conditioning_sigma)
    source = open_source(options)
    check_writable(options.output_dir)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("tf32" if options.precision == "tf32" else "fp32")
    network, weights = open_network(options, device)
    side = network.config.img_resolution
    if network.config.img_channels != 3:
        raise InputError(f"the network makes images of {network.config.img_channels} channels", where=options.checkpoint_path,
                         do="Give a network for RGB images")  # fmt: skip
    source.check(side)
    chosen = choose(options, source)
    check_classes(options, source.classes[chosen.indices], network.config)
    run = Run(options, source, network, weights, chosen)
    for note in source.notes():
        console.say(note)
    if options.dry_run:
        console.say(f"would extract {len(chosen.indices):,} of {chosen.candidates:,} images into {run.tree.activations}")
        return Outcome({"num_samples": len(chosen.indices), "candidates": chosen.candidates, "output_dir": options.output_dir})
    with parallel.process_group(device.type):
        earlier = parallel.gather_objects(run.begin() if parallel.is_main() else None)[0]
        if earlier is not None:
            console.say(f"{run.tree.info} is there, made by the same command")
            return Outcome(earlier, record=run.record)
        results = run.work()
    run.record.extra = {"machine": describe(device)}
    return Outcome(results, [run.tree.info, *run.form.outputs()] if parallel.is_main() else [], run.record)


def check_flags(options):
    """Raise InputError for values that no source or network could make sense of."""
    for name in ("num_samples", "batch_size", "num_workers"):
        if getattr(options, name) < 1:
            raise InputError("must be at least 1", where=f"--{name} {getattr(options, name)}", do="Correct the value")
    if options.samples_per_file is not None and options.samples_per_file < 1:
        raise InputError("must be at least 1", where=f"--samples_per_file {options.samples_per_file}", do="Correct the value")
    if options.num_classes is not None and options.target_classes is not None:
        raise InputError("Cannot use both --num_classes and --target_classes", do="Choose one")
    if bool(options.percentiles) != (options.scores is not None):
        raise InputError("--percentiles and --scores go together", do="Give both: a CSV of scores, and two percentiles")
    options.layers = ",".join(name.strip() for name in options.layers.split(",") if name.strip())
    if not options.layers:
        raise InputError("no layer is named", where="--layers", do="Give names such as encoder_bottleneck,midblock")
    if options.seed < 0 or options.seed >= 2**32:
        raise InputError("a seed is a whole number from 0 below 2^32", where=f"--seed {options.seed}", do="Correct the value")


def open_network(options, device):
    """Return (EDMPrecond on the device, fingerprint of its file)."""
    from common.activations.capture import layer_widths
    from common.files import file_hash
    from common.networks.adm_weights import find_adm, load_adm

    path = find_adm(options.checkpoint_path, options.part)
    precision = "bf16" if options.precision == "bf16" else "fp32"
    network = load_adm(path, device, options.weights, options.part, precision)
    layer_widths(network.config, options.layers.split(","), options.pool)  # unknown names are refused here
    if options.compile:
        import torch

        network.model = torch.compile(network.model)
    return network, {"name": path.name, "sha256": file_hash(path)}


def choose(options, source):
    """Return the Selection that the flags ask for; InputError for unknown classes, or when nothing is left."""
    from common.datasets.imagenet_classes import parse_class
    from common.datasets.imagenet_select import draw_classes, keep_percentiles, select
    from tools.extract_real_imagenet.sources import read_scores

    wanted, known = None, len(source.class_index)
    if options.num_classes is not None:
        wanted = draw_classes(options.seed, options.num_classes, known)
    if options.target_classes is not None:
        words = [word for word in options.target_classes.split(",") if word.strip()]
        own = {name: int(number) for number, names in source.class_index.items() for name in names}
        plain = options.class_map == "none"
        wanted = sorted({own[word.strip()] if plain and word.strip() in own else parse_class(word) for word in words})
        wrong = [number for number in wanted if str(number) not in source.class_index]
        if wrong or not wanted:
            raise InputError(f"class {wrong[0]} is out of range" if wrong else "names no class", where="--target_classes",
                             do=f"Use 0 .. {known - 1}")  # fmt: skip
    mask = None
    if options.percentiles:
        scores = read_scores(options.scores, options.score_column, source)
        if wanted is not None:
            import numpy as np

            scores = np.where(np.isin(source.classes, wanted), scores, np.nan)
        mask = keep_percentiles(scores, *options.percentiles, source.classes if options.percentile_scope == "class" else None)
    return select(source.classes, options.num_samples, options.seed, wanted, options.class_balanced, options.order, mask)


def check_classes(options, classes, config):
    """Raise InputError when the network has no such class."""
    if options.label_mode == "own" and config.label_dim and classes.max() >= config.label_dim:
        raise InputError(f"class {classes.max()} is out of range for a network of {config.label_dim} classes",
                         where=options.checkpoint_path,
                         do="Use --class_map none where labels are the network's plus 1, a map of your own, or --label_mode none")  # fmt: skip


class Run:
    """One extraction: its tree, form, record and samples."""

    def __init__(self, options, source, network, weights, chosen):
        from common.activations.capture import Capture, layer_widths
        from common.activations.job import Store, split_units
        from common.activations.layout import REAL, Tree
        from common.activations.store import NpyForm, NpzForm

        self.options, self.source, self.network, self.weights, self.chosen = options, source, network, weights, chosen
        self.tree = Tree(options.output_dir, REAL)
        self.resume_sizes()
        layers = options.layers.split(",")
        widths, count = layer_widths(network.config, layers, options.pool), len(chosen.indices)
        kind = NpzForm if options.format == "npz" else NpyForm
        self.form = kind(self.tree, widths, options.dtype, count, options.samples_per_file)
        self.units = split_units(chosen.indices, options.samples_per_file)
        self.store = Store(self.tree, self.form, with_json=True)
        self.capture = Capture(network, widths, options.input_mode, options.conditioning_sigma, options.seed,
                               options.label_mode, options.pool, options.dtype, images=options.reconstructions)  # fmt: skip
        self.record = self._record()

    def resume_sizes(self):
        """Take over the samples of a file, and a larger total, from the run that is there."""
        from common.files import read_json

        path = self.tree.metadata / "run.json"
        earlier = {}
        if path.exists() and not self.options.overwrite:
            try:
                earlier = read_json(path).get("options", {})
            except (InputError, AttributeError):
                earlier = {}  # RunRecord says what is wrong with it
        if self.options.samples_per_file is None:
            self.options.samples_per_file = earlier.get("samples_per_file") or self.options.batch_size

    def _record(self):
        from common.resume import RunRecord

        derived = {"checkpoint": self.weights, "source": self.source.identity() if parallel.is_main() else None}
        if not self.chosen.extends:  # another number would be other samples from the first on
            derived["fixed_num_samples"] = len(self.chosen.indices)
        if self.options.percentiles:
            from common.files import file_hash

            derived["scores"] = file_hash(self.options.scores)
        return RunRecord(self.tree.metadata, "extract_real_imagenet", self.options, derived)

    def begin(self):
        """Return the results of this very job when it is done; else make the folder and files ready."""
        tree = self.tree
        clear = [tree.activations, tree.images, tree.reconstructed, tree.info]
        earlier = self.record.begin(clear)
        if earlier is None:
            from common.files import remove_leftovers

            remove_leftovers(tree.metadata, clear[:3])
            self.form.prepare()
        return earlier

    def work(self):
        """Make what is missing, write the metadata, and return the results."""
        import time

        from common.activations.job import run_units

        parallel.barrier()
        self.source.prepare(self.chosen.indices)
        missing = [unit for unit in self.units if not self.store.is_complete(unit)]
        began, mine = time.monotonic(), parallel.shard(missing)
        parallel.barrier()  # all have looked before any writes
        run_units(mine, self.load, self.compute, self.store, "extracting", self.options.num_workers)
        seconds = time.monotonic() - began
        parallel.barrier()
        if not parallel.is_main():
            return {}
        return self.conclude(sum(len(unit.indices) for unit in missing) / max(seconds, 1e-9) if missing else None)

    def load(self, unit):
        """Return (unit, Loaded)."""
        return unit, self.source.load(unit.indices, self.network.config.img_resolution)

    def compute(self, loaded):
        """Return the Made of a loaded unit."""
        from common.activations.job import Made

        unit, found = loaded
        numbers = unit.indices[found.rows]
        arrays, reconstructed = self.capture.of_pixels(found.pixels, self.source.classes[numbers], numbers, self.options.batch_size)
        if not found.rows:
            import numpy as np

            arrays = {layer: np.empty((0, width), self.options.dtype) for layer, width in self.form.widths.items()}
        left_out = {place: (self.source.title(int(unit.indices[place])), why) for place, why in found.left_out.items()}
        samples = [self.batch_sample(row, int(number)) for row, number in enumerate(numbers)]
        return Made(unit, found.rows, arrays, self.pictures(unit, found, reconstructed), left_out, samples)

    def pictures(self, unit, found, reconstructed):
        """Return [(path, picture)] of the pictures that the flags ask for."""
        from common.activations.job import picture_path
        from tools.extract_real_imagenet.sources import planes_to_picture

        positions, pictures = [unit.first + place for place in found.rows], []
        if self.options.images == "original":
            pictures += [(picture_path(self.tree.images, position, self.source.suffix), picture)
                         for position, picture in zip(positions, found.originals)]  # fmt: skip
        elif self.options.images == "network":
            pictures += [(picture_path(self.tree.images, position), planes_to_picture(pixels))
                         for position, pixels in zip(positions, found.pixels)]  # fmt: skip
        if self.options.reconstructions and found.rows:
            pictures += [(picture_path(self.tree.reconstructed, position), picture)
                         for position, picture in zip(positions, reconstructed)]  # fmt: skip
        return pictures

    def batch_sample(self, row, number):
        """Return a sample's entry in the json of its batch."""
        kind = int(self.source.classes[number])
        synset, name = self.source.class_index[str(kind)]
        return {"batch_index": row, "class_id": kind, "synset_id": synset, "class_name": name,
                "original_path": self.source.title(number)}  # fmt: skip

    def samples(self):
        """Yield the records of all samples, in order."""
        from common.activations.job import picture_path

        options, tree = self.options, self.tree
        suffix = self.source.suffix if options.images == "original" else "png"
        for position, number, row in self.store.good_samples(self.units):
            told = self.batch_sample(row, number)
            path, place = self.form.place(position, row)
            picture, image = picture_path(tree.images, position, suffix), picture_path(tree.reconstructed, position)
            yield {"sample_id": picture.stem, "class_label": told["class_id"], "synset_id": told["synset_id"],
                   "class_name": told["class_name"],
                   "image_path": tree.relative(picture) if options.images != "none" else None,
                   "reconstructed_path": tree.relative(image) if options.reconstructions else None,
                   "activation_path": path, "batch_index": place, "original_path": told["original_path"],
                   "source": self.source.kind, "conditioning_sigma": options.conditioning_sigma}  # fmt: skip

    def conclude(self, rate):
        """Write the metadata (last), say what there is, and return the results."""
        from common.activations.layout import write_info

        options = self.options
        left_out = [told for unit in self.units for told in self.store.left_out(unit).values()]
        self.form.finish()
        count = len(self.chosen.indices) - len(left_out)
        if count == 0:
            raise InputError(f"no image can be read ({left_out[0][0]}: {left_out[0][1]})", where=self.source.kind, do="Check the source")
        head = {"model_type": self.tree.model, "adapter": options.adapter, "checkpoint": self.weights["name"],
                "num_samples": count, "layers": options.layers.split(","), "conditioning_sigma": options.conditioning_sigma,
                "seed": options.seed, "split": options.split, "input_mode": options.input_mode,
                "label_mode": options.label_mode, "pool": options.pool, "dtype": options.dtype, "format": options.format,
                "preprocess": options.preprocess if self.source.kind == "imagenet_real" else options.resize,
                "widths": self.form.widths, "left_out": left_out, "class_labels": self.source.class_index}  # fmt: skip
        write_info(self.tree.info, head, self.samples(), count)
        self.show(count, left_out, rate)
        return {"num_samples": count, "left_out": len(left_out), "candidates": self.chosen.candidates,
                "short_classes": {str(kind): list(numbers) for kind, numbers in self.chosen.short.items()},
                "layers": options.layers.split(","), "widths": self.form.widths, "format": options.format,
                "images_per_second": rate, "output_dir": options.output_dir}  # fmt: skip

    def show(self, count, left_out, rate):
        """Say what was written, left out and short."""
        for title, why in left_out[:5]:
            console.say(f"left out: {title}: {why}")
        for kind, (wanted, found) in list(self.chosen.short.items())[:5]:
            console.say(f"warning: class {kind} has {found} of {wanted} images wanted")
        console.show_table(str(self.tree.activations), ["samples", "left out", "layers", "values each", "images/s"],
                           [[f"{count:,}", len(left_out), self.options.layers, f"{sum(self.form.widths.values()):,}",
                             f"{rate:.3g}" if rate else "all there"]])  # fmt: skip
        console.say(f"next: python -m tools.process_embeddings --model {self.tree.model} --data_dir {self.options.output_dir}")
