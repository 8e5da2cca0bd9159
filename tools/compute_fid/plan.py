"""The two sides of a score, opened and checked before any image is encoded."""

from tools.compute_fid.sides import encoded_side, open_source, stored_side


class Plan:
    """The scored side and its reference, each a source of images or a stored file, and the feature space for images.

    Raises InputError for anything that is missing, unknown or broken.
    """

    def __init__(self, options, device):
        from common.features.spaces import open_space

        self.options = options
        self.mode = getattr(options, "mode", "fast")
        self.generated = open_source(options.checkpoint, options, device, options.num_gen)
        self.reference = open_source(options.reference, options, device) if options.reference else None
        self.space = None
        encodes = self.generated is not None or self.reference is not None
        if encodes or (options.dataset_name and options.extractor != "inception"):
            antialias = getattr(options, "antialias", True)
            self.space = open_space(options.extractor, self.mode, options.weights, device, antialias)
        self.places = {"generated": options.checkpoint, "reference": options.reference or self._named_statistics()}
        self.stored = {which: stored_side(place) for which, place in self.places.items()
                       if place and getattr(self, which) is None}
        self._check_metrics()

    def _named_statistics(self):
        """Return the path of --dataset_name's statistics, None without that flag."""
        from common.features.stats_store import find_stats

        options = self.options
        if not options.dataset_name:
            return None
        model = "" if options.extractor == "inception" else self.space.name
        return str(find_stats(options.dataset_name, options.stats_dir, self.mode, model))

    def _check_metrics(self):
        """Raise InputError for a metric that needs what a side lacks, before any image is encoded."""
        from tools.compute_fid.measure import check_features, check_logits

        for statistics in self.stored.values():
            for metric in self.options.metrics:
                check_features(statistics, metric)
        if "is" in self.options.metrics:
            generated = self.stored.get("generated")
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
                change = None if hasattr(source, "generate") else self._change()
                opened.append(encoded_side(source, self.space, self.options, change))
            else:
                opened.append((self.stored.get(which), []))
        return opened

    def _change(self):
        """Return the transform of image files to --resolution, or None."""
        from common.features.resize import CoverAndCrop

        size = self.options.resolution
        return CoverAndCrop((size[0], size[-1])) if size else None


def compare(generated, reference):
    """Return notes on the comparability of the score. Raises InputError for sides that cannot be compared at all."""
    from common.features.statistics import check_comparable

    if reference is None:
        return []
    inception = str(generated.meta.get("extractor", "inception")) == "inception"  # other spaces have a single resize
    fast = generated.meta.get("resize") == "fast" and reference.meta.get("resize") == "clean"
    notes = check_comparable(generated, reference, allow=("resize",) if fast else ())
    if fast or not inception:
        notes = [note for note in notes if "resize " not in note]
    if fast:
        notes.append("these images were resized as tensors, the reference by PIL: only compare with other fast scores")
    return notes
