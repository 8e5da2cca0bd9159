"""The two sides of a score, opened and checked before any image is encoded."""

from common.errors import InputError
from tools.compute_fid.effects import ALONE, check_acting
from tools.compute_fid.measure import NEED_FEATURES
from tools.compute_fid.sides import encoded_side, has_spatial, images_in, open_source, stored_side

# Metrics that take a side's rows.
ROWS_OF = {"generated": {*NEED_FEATURES, "is"}, "reference": {*NEED_FEATURES}.difference(ALONE)}


class Plan:
    """The scored side and its reference, each a source of images or a stored file, and the feature space for images.

    Raises InputError for anything that is missing, unknown or broken.
    """

    def __init__(self, options, device):
        from common.features.spaces import open_space

        self.options = options
        self.mode = getattr(options, "mode", "fast")
        self.generated = open_source(options.checkpoint, options, device, options.num_gen, options.split)
        reference = (options.reference, options, device, None, options.reference_split or options.split)
        self.reference = open_source(*reference) if options.reference else None
        self.space = None
        self.places = {"generated": options.checkpoint, "reference": options.reference or None}
        self.inside = self._images_inside()
        check_acting(options, self.generated, self.reference, self.inside.values())
        self.notes = self._count_notes()
        encodes = self.generated is not None or self.reference is not None or self.inside
        if encodes or (options.dataset_name and options.extractor != "inception"):
            antialias = getattr(options, "antialias", True)
            self.space = open_space(options.extractor, self.mode, options.weights, device, antialias, options.layer)
        self.places["reference"] = options.reference or self._named_statistics()
        self.stored = self._stored()
        self.spatial = self._stored_spatial()
        self.classes = self._classes()
        self.change = self._change()
        self._check_metrics()

    def _images_inside(self):
        """Return {side: source} of the images in a file of statistics, for the metrics that need features or logits."""
        found = {}
        for which, place in self.places.items():
            asked = {*self.options.metrics}
            wanted = ROWS_OF[which] & asked or ("sfid" in asked and not (place and has_spatial(place)))
            if place and getattr(self, which) is None and (wanted or self.options.per_class):
                images = images_in(place)
                found |= {which: images} if images is not None else {}
        return found

    def _stored(self):
        """Return {side: Statistics} of the stored sides. Of an EDM2 pickle the other side's width chooses the entry."""
        metric = "fd_dinov2" if self.options.extractor == "dinov2" else "fid"
        places = {which: place for which, place in self.places.items() if place and getattr(self, which) is None}
        width = self.space.width if self.space and len(places) == 1 else None
        found = {}
        for which, place in sorted(places.items(), key=lambda item: str(item[1]).endswith(("pkl", "pickle"))):
            found[which] = stored_side(place, metric, width)
            width = found[which].width
        return found

    def _stored_spatial(self):
        """Return {side: Statistics} of the spatial features that sfid compares, of sides that are not encoded."""
        from common.features.statistics import read_statistics

        if "sfid" not in self.options.metrics:
            return {}
        return {which: read_statistics(self.places[which], "sfid") for which in self.stored
                if which not in self.inside or has_spatial(self.places[which])}

    def _classes(self):
        """Return {side: name of each image's class} for --per_class."""
        if not self.options.per_class:
            return {}
        found = {}
        for which in ("generated", "reference"):
            source = getattr(self, which) or self.inside.get(which)
            found[which] = source.classes() if hasattr(source, "classes") else None
            if found[which] is None:
                raise InputError("no classes are known of it, which --per_class needs", where=self.describe(which),
                                 do="Pass a folder of class folders, an array with labels, a known data set with "
                                    "labels, or a generator with --num_classes")
        return found

    def _count_notes(self):
        """Return what --num_gen makes of images that are not generated."""
        num, images = self.options.num_gen, self.generated
        if num is None or hasattr(images, "generate"):
            return []
        if len(images) < num:
            return [f"{images.what}: fewer than --num_gen {num:,}"]
        return [f"{images.what}: the first ones in path order, as many as --num_gen; more may be there"]

    def _named_statistics(self):
        """Return the path of --dataset_name's statistics, None without that flag."""
        from common.features.spaces import model_of_layer
        from common.features.stats_store import find_stats

        options = self.options
        if not options.dataset_name:
            return None
        model = model_of_layer(options.layer) if options.extractor == "inception" else self.space.model
        return str(find_stats(options.dataset_name, options.stats_dir, self.mode, model))

    def _check_metrics(self):
        """Raise InputError for a metric that needs what a side lacks, before any image is encoded."""
        from tools.compute_fid.measure import check_features, check_logits

        for which, statistics in self.stored.items():
            for metric in ROWS_OF[which].intersection(self.options.metrics) if which not in self.inside else ():
                check_features(statistics, metric)
        if "is" in self.options.metrics:
            generated = None if "generated" in self.inside else self.stored.get("generated")
            check_logits(self.describe("generated"),
                         self.space.num_logits if generated is None else generated.logits is not None)

    def describe(self, which):
        """Return a description of the side `generated` or `reference`."""
        source = getattr(self, which)
        return source.what if source is not None else str(self.places[which] or "nothing")

    def identity(self, which):
        """Return the hash of a side's content."""
        from common.files import file_hash

        source, place = getattr(self, which), self.places[which]
        return source.identity() if source is not None else file_hash(place) if place else None

    def sides(self):
        """Return [(Statistics, excluded images)] of the generated side and the reference ((None, []) without one)."""
        opened = []
        for which in ("generated", "reference"):
            source = getattr(self, which)
            if source is not None:
                opened.append(self._encoded(which, source, None if hasattr(source, "generate") else self.change))
            else:
                opened.append((self.stored.get(which), []))
        return opened

    def _encoded(self, which, source, change):
        """Return (Statistics, excluded images) of a source; from the same pass come its spatial ones, where needed."""
        more = "sfid" in self.options.metrics and which not in self.spatial
        spaces = [self.space, *([self.space.beside("spatial")] if more else [])]
        (found, encoded), *spatial = encoded_side(source, spaces, self.options, change)
        if more:
            self.spatial[which] = spatial[0][0]
        if which in self.classes:
            skipped = {*encoded.skipped}
            self.classes[which] = [name for number, name in enumerate(self.classes[which]) if number not in skipped]
        return found, encoded.excluded

    def rows(self):
        """Return {side: Statistics} of the images in files of statistics, and notes on them."""
        rows, notes = {}, []
        for which, images in self.inside.items():
            taken = ROWS_OF[which] | ({"sfid"} if which not in self.spatial else set())
            rows[which], _ = self._encoded(which, images, self.change)
            names = [name for name in self.options.metrics if name in taken]
            names += ["the classes"] if self.options.per_class else []
            notes.append(f"{', '.join(names)}: of the {rows[which].count:,} images in {self.places[which]}, not of its "
                         f"statistics")
        return rows, notes

    def _change(self):
        """Return what brings image files to --resolution, without it to that of the stored side; None for nothing.

        What is not said is as on the stored side: antialiasing, and cover or squash.
        """
        from common.features.resize import change_of, check_resolution

        side = next((side for side in self.stored.values() if "resolution" in side.meta), None)
        size = check_resolution(self.options.resolution or [0])
        if side is not None and not self.options.resolution:
            size = check_resolution(side.meta["resolution"], f"{side.path}: resolution")
        meta = side.meta if side is not None else {}
        as_trained = meta.get("resolution_filter") == "lanczos"
        if self.options.fit and size is None:
            raise InputError("acts on the resize to --resolution, which is not asked for", where="--fit",
                             do="Pass --resolution, too")
        fit = self.options.fit or ("squash" if as_trained else "cover")
        return change_of(size, fit, meta.get("resolution_antialias") is not False)


def compare(generated, reference):
    """Return notes on the comparability of the score. Raises InputError for sides that cannot be compared at all."""
    from common.features.comparable import check_comparable

    if reference is None:
        return []
    fast = generated.meta.get("resize") == "fast" and reference.meta.get("resize") == "clean"
    notes = check_comparable(generated, reference, allow=("resize",) if fast else ())
    if fast:
        notes = [note for note in notes if "resize " not in note]
        notes.append("these images were resized as tensors, the reference by PIL: only compare with other fast scores")
    return notes
