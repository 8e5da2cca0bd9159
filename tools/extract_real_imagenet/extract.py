"""From flags to a tree of activations: check everything, choose the samples, run the units, write the metadata."""

from dataclasses import replace

from common import console, parallel
from common.activations.layout import REAL, Tree
from common.activations.run import ActivationRun, checkpoint_or_default, earlier_options, open_network
from common.effects import check_effects
from common.errors import InputError
from common.flags import ALL
from tools.extract_real_imagenet import findings
from tools.extract_real_imagenet.select import check_percentiles, draw_classes, keep_percentiles, select


def extract(request):
    """Run the extraction.

    results: num_samples, left_out, candidates, short_classes, layers, widths, format, images_per_second, output_dir.
    """
    from common.activations.capture import note_feeding, settle_feeding
    from common.datasets.imagenet.sources import Settings, open_source
    from common.device import pick_device
    from common.files import check_writable

    check_flags(request)
    options = replace(request, checkpoint_path=checkpoint_or_default(request.checkpoint_path),
                      input_mode=settle_feeding(request.input_mode, request.conditioning_sigma))
    options = replace(options, split=settled_split(options))
    names = ("class_map", "npz_subset", "npz_partial", "preprocess", "resize", "num_workers")
    settings = Settings(**{name: getattr(options, name) for name in names}, keep_originals=options.images == "original",
                        split=None if options.split == "all" else options.split, unpack_all=options.unpack == "all")
    source = open_source(settings, options.npz_dir, options.imagenet_dir, options.lmdb_path)
    options = replace(options, split=options.split or source.split,
                      num_samples=len(source) if options.num_samples == ALL else options.num_samples)
    check_writable(options.output_dir)
    device = pick_device(options.device, parallel.local_rank())
    network, weights = open_network(
        options.checkpoint_path, options.layers, options.pool, device, weights=options.weights, part=options.part,
        precision=options.precision, compile=options.compile, model_flags=options.model_flags)
    note_feeding(request.input_mode, options.conditioning_sigma, network.config)
    source.check(network.config.img_resolution)
    for note in source.notes():
        console.say(note)
    with parallel.process_group(device.type):
        chosen = choose(options, source, network, weights)
        check_classes(options, source.classes[chosen.indices], network.config)
        run = Extraction(request, options, source, network, weights, chosen)
        return run.carry_out(run.identity(), run.inputs(), lambda: (
            f"would extract {len(chosen.indices):,} of {chosen.candidates:,} images into {run.tree.activations}",
            {"num_samples": len(chosen.indices), "candidates": chosen.candidates, "output_dir": options.output_dir}),
            device)


def settled_split(options):
    """Return the split that is asked for, or as which an earlier run in the folder was recorded; None for neither."""
    if options.split is None and options.imagenet_dir is None:
        return earlier_options(Tree(options.output_dir, REAL), options.overwrite).get("split")
    return options.split or "val"


def check_flags(options):
    """Raise InputError for flags that contradict each other."""
    from common.datasets.imagenet.sources import acting

    if options.num_classes is not None and options.target_classes is not None:
        raise InputError("Cannot use both --num_classes and --target_classes", do="Choose one")
    if bool(options.percentiles) != (options.scores is not None):
        raise InputError("--percentiles and --scores go together",
                         do="Give both: a CSV of scores or denoise, and two percentiles")
    if options.percentiles:
        check_percentiles(*options.percentiles)
    check_effects(options, {
        "score_sigma": (options.scores == "denoise", "--scores denoise"),
        "score_column": (options.scores not in (None, "denoise"), "--scores, a CSV"),
        "percentile_scope": (bool(options.percentiles), "--percentiles")})
    check_effects(options, {**acting(options.npz_dir, options.imagenet_dir),
                            "unpack": (options.npz_dir is not None, "folders of npz batches")},
                  "which are not read here")


def choose(options, source, network, weights):
    """Return the Selection that the flags ask for; InputError for unknown classes or an empty selection."""
    import numpy as np

    from common.datasets.imagenet.classes import parse_classes
    from tools.extract_real_imagenet.scoring import find_scores

    wanted, mask, scores = None, None, None
    if options.num_classes is not None:
        wanted = draw_classes(options.seed, options.num_classes, sorted(map(int, source.class_index)))
    if options.target_classes is not None:
        wanted = parse_classes(options.target_classes, source.class_index)
    if options.percentiles and not (options.dry_run and options.scores == "denoise"):  # scoring writes to the cache
        allowed = source.classes >= 0 if wanted is None else np.isin(source.classes, wanted)
        check_classes(options, source.classes[allowed], network.config)
        scores = find_scores(options, source, network, weights, allowed)
        mask = keep_percentiles(scores, *options.percentiles,
                                source.classes if options.percentile_scope == "class" else None)
    chosen = select(source.classes, options.num_samples, options.seed, wanted, options.class_balanced, options.order,
                    mask)
    chosen.scores = scores
    return chosen


def score_identity(options):
    """Return what the scores are, for records: "denoise", or the hash of the CSV."""
    from common.files import file_hash

    return "denoise" if options.scores == "denoise" else file_hash(options.scores)


def check_classes(options, classes, config):
    """Raise InputError when the network has no such class."""
    if len(classes) and options.label_mode == "own" and config.label_dim and classes.max() >= config.label_dim:
        raise InputError(f"class {classes.max()} is out of range for a network of {config.label_dim} classes",
                         where=options.checkpoint_path,
                         do="Use --class_map none if labels are the network's classes plus 1, a map of your own, or "
                            "--label_mode none")


class Extraction(ActivationRun):
    """One extraction."""

    tool, with_json, label = "extract_real_imagenet", True, "extracting"
    summary = staticmethod(findings.extract)

    def __init__(self, request, options, source, network, weights, chosen):
        from common.activations.capture import Capture

        super().__init__(request, options, REAL, network, chosen.indices)
        self.source, self.weights, self.chosen = source, weights, chosen
        self.capture = Capture(network, self.form.widths, options.input_mode, options.conditioning_sigma, options.seed,
                               options.label_mode, options.pool, options.dtype, images=options.reconstructions)

    def identity(self):
        """Return what shapes the results besides the flags."""
        derived = {"checkpoint": self.weights["sha256"],
                   "source": self.source.identity() if parallel.is_main() else None}
        if not self.chosen.extends:  # a larger number would select other samples
            derived["fixed_num_samples"] = len(self.chosen.indices)
        derived |= self.source.map_identity()
        if self.options.percentiles:
            derived["scores"] = score_identity(self.options)
        return derived

    def inputs(self):
        """Return the paths that are read."""
        options = self.options
        scores = [options.scores] if options.scores not in (None, "denoise") else []
        maps = [options.class_map] if options.class_map.endswith(".json") else []
        places = [place for place in (options.npz_dir, options.imagenet_dir, options.lmdb_path) if place is not None]
        return [options.checkpoint_path, *places, *scores, *maps]

    def prepare(self):
        """Make the source ready for the chosen images."""
        self.source.prepare(self.chosen.indices)

    def load(self, unit):
        """Return (unit, ImageBatch)."""
        return unit, self.source.load(unit.indices, self.network.config.img_resolution)

    def compute(self, loaded):
        """Return the UnitResult of a loaded unit."""
        import numpy as np

        from common.activations.job import UnitResult

        unit, batch = loaded
        numbers = unit.indices[batch.rows]
        arrays, reconstructed = self.capture.of_pixels(batch.pixels, self.source.classes[numbers], numbers,
                                                       self.options.batch_size)
        if not batch.rows:
            arrays = {layer: np.empty((0, width), self.options.dtype) for layer, width in self.form.widths.items()}
        skipped = {place: (self.source.title(int(unit.indices[place])), why) for place, why in batch.left_out.items()}
        samples = [self.batch_sample(row, int(number)) for row, number in enumerate(numbers)]
        return UnitResult(unit, batch.rows, arrays, self.pictures(unit, batch, reconstructed), skipped, samples)

    def picture_paths(self, position):
        """Return the paths of a sample's pictures: the image, if stored, then the reconstruction, if stored."""
        from common.activations.job import picture_path

        suffix = self.source.suffix if self.options.images == "original" else "png"
        paths = [picture_path(self.tree.images, position, suffix)] if self.options.images != "none" else []
        return paths + ([picture_path(self.tree.reconstructed, position)] if self.options.reconstructions else [])

    def pictures(self, unit, batch, reconstructed):
        """Return [(path, image)] of the images to store."""
        from common.datasets.imagenet.sources import planes_to_picture

        kinds = {"original": batch.originals, "network": [planes_to_picture(pixels) for pixels in batch.pixels]}
        stored = [kinds[self.options.images]] if self.options.images != "none" else []
        stored += [reconstructed] if self.options.reconstructions and batch.rows else []
        return [(path, pictures[row]) for row, place in enumerate(batch.rows)
                for path, pictures in zip(self.picture_paths(unit.first + place), stored)]

    def batch_sample(self, row, number):
        """Return a sample's entry in the json of its batch."""
        kind = int(self.source.classes[number])
        synset, name = self.source.class_index[str(kind)]
        return {"batch_index": row, "class_id": kind, "synset_id": synset, "class_name": name,
                "original_path": self.source.title(number)}

    def samples(self):
        """Yield the records of all samples, in order."""
        from common.activations.layout import sample_name

        options, tree = self.options, self.tree
        for position, number, row in self.store.good_samples(self.units):
            entry = self.batch_sample(row, number)
            path, place = self.form.place(position, row)
            pictures = [tree.relative(path) for path in self.picture_paths(position)]
            scores = self.chosen.scores
            scored = {} if scores is None else {"score": float(scores[number])}
            yield {"sample_id": sample_name(position), "class_label": entry["class_id"],
                   "synset_id": entry["synset_id"], "class_name": entry["class_name"],
                   "image_path": pictures[0] if options.images != "none" else None,
                   "reconstructed_path": pictures[-1] if options.reconstructions else None,
                   "activation_path": path, "batch_index": place, "original_path": entry["original_path"],
                   "source": self.source.kind, "conditioning_sigma": options.conditioning_sigma,
                   **scored}

    def head(self, count, skipped):
        """Return the metadata above the samples: the published entries, and how the images were fed and stored."""
        from common.activations.capture import level_fed

        options = self.options
        return {"model_type": self.tree.model, "adapter": options.adapter, "checkpoint": self.weights["path"],
                "num_samples": count, "layers": self.layers, "conditioning_sigma": options.conditioning_sigma,
                "sigma_fed": level_fed(options.input_mode, options.conditioning_sigma, self.network.config),
                "seed": options.seed, "split": options.split, "input_mode": options.input_mode,
                "label_mode": options.label_mode, **self.stored_as(),
                "preprocess": options.preprocess if self.source.kind == "imagenet_real" else options.resize,
                "left_out": skipped, "class_labels": self.source.class_index}

    def conclude(self, count, skipped, rate):
        """Report what was written, what was skipped and which classes ran short, and return the results."""
        for title, why in skipped[:5]:
            console.say(f"skipped: {title}: {why}")
        for kind, (wanted, available) in list(self.chosen.short.items())[:5]:
            console.say(f"warning: class {kind} has only {available} of the {wanted} images asked for")
        if len(self.chosen.short) > 5:
            console.say(f"warning: {len(self.chosen.short):,} classes have too few images")
        console.show_table(str(self.tree.activations), ["samples", "skipped", "layers", "values per image", "images/s"],
                           [[f"{count:,}", len(skipped), self.options.layers, f"{sum(self.form.widths.values()):,}",
                             f"{rate:.3g}" if rate else "-"]])
        console.say(f"next: python -m tools.process_embeddings --model {self.tree.model} --data_dir "
                    f"{self.options.output_dir}")
        return {"num_samples": count, "left_out": len(skipped), "candidates": self.chosen.candidates,
                "short_classes": {str(kind): list(numbers) for kind, numbers in self.chosen.short.items()},
                "layers": self.layers, "widths": self.form.widths, "format": self.options.format,
                "images_per_second": rate, "output_dir": self.options.output_dir}
