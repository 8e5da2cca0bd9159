"""Features of many images, computed once: in parts that survive a kill, shared by processes, cached by content.

A set of features is a folder below GENPROBE_CACHE/features, named by a hash of the images' contents, the feature space
and the transform. The same images under any path, for any metric, are not encoded again, and of a set that shares
images with others only the new ones are (see common/features/cache.py).
"""

import hashlib
import itertools
import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from common.errors import SYSTEM_ADVICE, InputError
from common.features import cache
from common.numerals import counted
from common.threads import Threads

PART = 512  # images of a part, which is made and written as one
FORMAT = 4  # of the files; another one is another key


class EncodedImages:
    """A finished set: `features.npz` (pool_3 (n, D) float32), `logits.npz` (logit (n, C)) and `set.json`."""

    def __init__(self, folder):
        from common.features.cache import hold
        from common.files import read_json

        self.folder = Path(folder)
        self._in_use = hold(self.folder)  # as long as this object lives
        self.path = self.folder / "features.npz"
        stored = read_json(self.folder / "set.json")
        self.count, self.width, self.num_logits = stored["count"], stored["width"], stored["num_logits"]
        self.meta, self.what, self.excluded = stored["meta"], stored["what"], stored["excluded"]
        self.skipped = stored["skipped"]  # numbers of the excluded images

    def statistics(self):
        """Return the common.features.statistics.Statistics, with rows and logits left in their files.

        Mean and covariance are computed once and stored beside the features.
        """
        from common.features.statistics import Statistics
        from common.files import read_npz, write_npz
        from common.formats.rows import FileRows

        rows = FileRows(self.path, "pool_3")
        logits = FileRows(self.folder / "logits.npz", "logit") if self.num_logits else None
        path, moments = self.folder / "moments.npz", {}
        if path.exists():
            moments = read_npz(path, required=("mean", "covariance"))
        elif self.count > self.width:  # with fewer rows a distance needs no covariance
            computed = Statistics(features=rows)
            moments = {"mean": computed.mean, "covariance": computed.covariance}
            write_npz(path, compressed=False, **moments)
        return Statistics(**moments, features=rows, logits=logits, meta=self.meta, path=self.what, owner=self)


def encode(images, space, batch_size=32, workers=8, change=None, overwrite=False, label="features", cache_gb=None):
    """Return the EncodedImages of a source (common.features.sources, or one with `generate`), cached or computed.

    change: None, or a transform image -> image with a `description` of plain values, applied before the space's own
    preprocessing.  workers: threads that read and prepare images.  cache_gb: what all cached sets may take, see
    cache.limit_bytes.
    Images that cannot be read, or whose features are not finite, are skipped and listed in `excluded` with the reason.
    Raises InputError when fewer than two images remain.
    """
    return encode_in([space], images, batch_size, workers, change, overwrite, label, cache_gb)[0]


def encode_in(spaces, images, batch_size=32, workers=8, change=None, overwrite=False, label="features", cache_gb=None):
    """Return the EncodedImages in several spaces of one network, each as `encode` does, from one pass.

    spaces: one or more; the first `prepare`s for all, and its `encode_in` gives the rows of all.
    """
    from common import parallel
    from common.files import check_writable
    from common.locks import exclusive

    identity = (images.identity(), getattr(images, "unreadable", ())) if parallel.is_main() else None
    identity, unreadable = parallel.gather_objects(identity)[0]
    sets = [_Set(space, [PART, identity, len(images)], change) for space in spaces]
    for item in sets:
        check_writable(item.folder)
    limit = cache.limit_bytes(cache_gb)
    with ExitStack() as locks:
        for item in sorted(sets, key=lambda item: item.folder) if parallel.is_main() else ():
            locks.enter_context(exclusive(item.folder / cache.LOCK, f"another process computes {label}"))
            if overwrite:
                item.forget()
        parallel.barrier()
        missing = [item for item in sets if not (item.folder / "set.json").exists()]
        if missing:
            keys = cache.digests(images.keys()) if hasattr(images, "keys") else [b""] * len(images)
            for item in missing:
                item.known = {} if overwrite else cache.known_rows(item.made_by, keys)
            parallel.barrier()
            _make_parts(images, missing, (batch_size, workers, change, unreadable), label)
            parallel.barrier()
            for item in missing if parallel.is_main() else ():
                _join(images, item, change, keys)
            parallel.barrier()
        encoded = [EncodedImages(item.folder) for item in sets]
    if parallel.is_main():
        cache.prune(limit / 1e9)
    return encoded


class _Set:
    """A set of features to be made: its space, its folder, and which rows other sets have (see cache.known_rows)."""

    def __init__(self, space, of, change):
        self.space, self.known = space, {}
        self.made_by = _hash([FORMAT, space.meta, None if change is None else change.description])
        self.folder = cache.features_dir() / _hash([*of, self.made_by])

    def forget(self):
        """Remove what an earlier run left."""
        for path in [self.folder / "set.json", *self.folder.glob("part_*.npz")]:
            path.unlink(missing_ok=True)

    def lacks(self, number):
        """True where a part is not complete."""
        return not _is_complete(self.folder / _part(number))


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _make_parts(images, sets, work, label):
    """Write the missing parts of this process's share. work: batch size, workers, change, unreadable numbers."""
    from common import console, parallel

    spans = [range(start, min(start + PART, len(images))) for start in range(0, len(images), PART)]
    lacking = {number: [item for item in sets if item.lacks(number)] for number in range(len(spans))}
    mine = parallel.shard([number for number, waiting in lacking.items() if waiting])
    fresh = sum(any(index not in item.known for item in lacking[number]) for number in mine for index in spans[number])
    with Threads(max(1, work[1])) as pool, ExitStack() as opened, \
            console.progress(label, fresh, unit="images") as advance:
        rows_of = {item: opened.enter_context(cache.open_rows(item.known)) for item in sets}
        for number in mine:
            parts = [_Rows(item, spans[number], rows_of[item]) for item in lacking[number]]
            _fill(parts, images, spans[number], pool, work, advance)
            for part in parts:
                part.write(number, images)


def _part(number):
    return f"part_{number:05d}.npz"


def _is_complete(path):
    """True when a part exists and is complete; a damaged one is computed again."""
    from common.files import read_npz

    if not path.exists():
        return False
    try:
        read_npz(path, required=("pool_3", "logit", "index", "excluded"))
    except InputError:
        return False
    return True


class _Rows:
    """The rows of one part of a set: first those that other sets have, then others as they come."""

    def __init__(self, item, span, row_of):
        self.item, self.excluded, self.index, self.blocks = item, {}, [], []
        shared = [number for number in span if number in item.known]
        if shared:
            features, logits = zip(*map(row_of, shared))
            self._take(shared, np.stack(features), None if logits[0] is None else np.stack(logits))

    def add(self, numbers, features, logits):
        """Take the rows of the images of these numbers that are not there yet."""
        new = np.array([number not in self.item.known for number in numbers])
        good = np.isfinite(features).all(axis=1)
        self.excluded.update({number: "its features hold NaN or infinity"
                              for number, bad in zip(numbers, new & ~good) if bad})
        chosen = new & good
        self._take(list(itertools.compress(numbers, chosen)), features[chosen], None if logits is None
                   else logits[chosen])

    def _take(self, numbers, features, logits):
        self.index += numbers
        self.blocks.append((features, np.empty((len(numbers), 0), np.float32) if logits is None else logits))

    def write(self, number, images):
        """Write the part, in the images' order."""
        from common.files import write_npz

        space = self.item.space
        empty = np.empty((0, space.width), np.float32), np.empty((0, space.num_logits), np.float32)
        features, logits = (np.concatenate(parts) for parts in zip(*(self.blocks or [empty])))
        skipped = [[index, images.title(index), reason] for index, reason in sorted(self.excluded.items())]
        order = np.argsort(self.index, kind="stable")
        write_npz(self.item.folder / _part(number), compressed=False, pool_3=features[order], logit=logits[order],
                  index=np.array(self.index, np.int64)[order], excluded=np.array(json.dumps(skipped)))


def _fill(parts, images, span, pool, work, advance):
    """Encode the images of a part that some set lacks, in batches, into that part of each set."""
    batch_size, waiting, spaces = work[0], [], [part.item.space for part in parts]

    def flush():
        numbers, prepared = zip(*waiting)
        for part, (features, logits) in zip(parts, spaces[0].encode_in(spaces, prepared)):
            part.add(numbers, features, logits)
        advance(len(waiting))
        waiting.clear()

    fresh = [number for number in span if any(number not in part.item.known for part in parts)]
    for number, prepared in _prepared(images, fresh, spaces[0], pool, *work):
        if isinstance(prepared, InputError):
            for part in parts:
                if number not in part.item.known:
                    part.excluded[number] = prepared.what
            advance(1)
            continue
        waiting.append((number, prepared))
        if len(waiting) == batch_size:
            flush()
    if waiting:
        flush()


def _prepared(images, span, space, pool, batch_size, workers, change, unreadable):
    """Yield (number, prepared image or InputError) in order; some are prepared ahead in threads.

    Raises InputError where the system refuses a file that it let read for the set's key: the set must not be kept
    under this key without that image.
    """

    def prepare(image):
        try:
            return space.prepare(image if change is None else change(image))
        except InputError as error:
            return error

    def load(number):
        try:
            image = images.load(number)
        except InputError as error:
            if number not in unreadable and getattr(error.__cause__, "errno", None) in SYSTEM_ADVICE:
                raise
            return error
        return InputError("could not be read at first") if number in unreadable else prepare(image)

    if hasattr(images, "generate"):
        for start in range(0, len(span), batch_size):
            numbers = span[start : start + batch_size]
            yield from zip(numbers, pool.map(prepare, images.generate(numbers)))
        return
    ahead, numbers = [], iter(span)
    for number in numbers:
        ahead.append((number, pool.submit(load, number)))
        if len(ahead) >= batch_size + workers:
            first, future = ahead.pop(0)
            yield first, future.result()
    for number, future in ahead:
        yield number, future.result()


def _join(images, item, change, keys):
    """Join the parts; set.json comes last and marks the set as complete."""
    from common.files import read_npz, write_json
    from common.formats.npz import write_npz_rows

    space, folder = item.space, item.folder
    parts = [folder / _part(number) for number in range(-(-len(images) // PART))]
    excluded, usable = [], []
    for path in parts:
        part = read_npz(path, required=("index", "excluded"))
        usable += part["index"].tolist()
        excluded += json.loads(str(part["excluded"]))
    count = len(usable)
    if count < 2:
        reason = f" ({excluded[0][1]}: {excluded[0][2]})" if excluded else ""
        raise InputError(f"{count} of {len(images)} images are usable, at least two are required{reason}",
                         where=images.what, do="Use more images")
    for name, key, width in (("logits.npz", "logit", space.num_logits), ("features.npz", "pool_3", space.width)):
        if width:
            blocks = (read_npz(path, required=(key,))[key] for path in parts)
            write_npz_rows(folder / name, key, (count, width), np.float32, blocks)
    made = getattr(images, "resolution", None)  # of generated images
    size = {"resolution": list(made), "generated": True} if made else {"resolution": [0]}  # 0: as they are
    fit = getattr(images, "fit", None)  # of the images that a generator was trained on
    size |= {"resolution_fit": fit} if made and fit else {}
    meta = {**space.meta, **size, **({} if change is None else change.description)}
    if any(keys):
        cache.write_keys(folder, [keys[number] for number in usable])
    write_json(folder / "set.json", {"space": item.made_by, "count": count, "width": space.width,
                                     "num_logits": space.num_logits, "meta": meta, "name": space.name,
                                     "what": images.what,
                                     "excluded": [[title, reason] for _, title, reason in excluded],
                                     "skipped": [number for number, *_ in excluded]})
    for path in parts:
        path.unlink()


def report_excluded(encoded, shown=5):
    """Print which images of a set were skipped and why."""
    from common import console

    if not encoded.excluded:
        return
    console.say(f"warning: skipped {counted(len(encoded.excluded), 'image')} of {encoded.what}:")
    for title, reason in encoded.excluded[:shown]:
        console.say(f"  {title}: {reason}")
    if len(encoded.excluded) > shown:
        console.say(f"  and {len(encoded.excluded) - shown:,} more")
