"""Features of many images, computed once: in parts that survive a kill, shared by processes, cached by content.

A set of features is a folder below GENPROBE_CACHE/features, named by a hash of the images' contents, the feature space
and the transform. The same images under any path, for any metric, are not encoded again, and of a set that shares
images with others only the new ones are (see common/features/cache.py).
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from common.errors import SYSTEM_ADVICE, InputError
from common.features import cache

PART = 512  # images of a part, which is made and written as one
FORMAT = 3  # of the files; another one is another key


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
    from common import parallel
    from common.files import check_writable, exclusive

    identity = (images.identity(), getattr(images, "unreadable", ())) if parallel.is_main() else None
    identity, unreadable = parallel.gather_objects(identity)[0]
    made_by = _hash([FORMAT, space.meta, None if change is None else change.description])
    folder = cache.features_dir() / _hash([PART, identity, len(images), made_by])
    check_writable(folder)
    limit = cache.limit_bytes(cache_gb)
    with exclusive(folder / cache.LOCK, f"another process computes {label}") if parallel.is_main() else nullcontext():
        if overwrite and parallel.is_main():
            for path in [folder / "set.json", *folder.glob("part_*.npz")]:
                path.unlink(missing_ok=True)
        parallel.barrier()
        if not (folder / "set.json").exists():
            keys = cache.digests(images.keys()) if hasattr(images, "keys") else [b""] * len(images)
            known = {} if overwrite else cache.known_rows(made_by, keys)
            parallel.barrier()
            _make_parts(images, space, folder, batch_size, workers, change, label, unreadable, known)
            parallel.barrier()
            if parallel.is_main():
                _join(images, space, folder, change, made_by, keys)
            parallel.barrier()
        encoded = EncodedImages(folder)
    if parallel.is_main():
        cache.prune(limit / 1e9)
    return encoded


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _make_parts(images, space, folder, batch_size, workers, change, label, unreadable, known):
    """Write the missing parts of this process's share. known: see cache.known_rows."""
    from common import console, parallel

    spans = [range(start, min(start + PART, len(images))) for start in range(0, len(images), PART)]
    missing = [number for number in range(len(spans)) if not _is_complete(folder / _part(number))]
    mine = parallel.shard(missing)
    fresh = sum(index not in known for number in mine for index in spans[number])
    with ThreadPoolExecutor(max(1, workers)) as pool, cache.open_rows(known) as row_of, \
            console.progress(label, fresh, unit="images") as advance:
        for number in mine:
            _make_part(images, space, spans[number], folder / _part(number), pool,
                       (batch_size, workers, change, unreadable), advance, known, row_of)


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


def _make_part(images, space, span, path, pool, work, advance, known, row_of):
    import numpy as np

    from common.files import write_npz

    batch_size = work[0]
    index, features, logits, excluded, waiting = [], [], [], {}, []

    def flush():
        rows, scores = space.encode([prepared for _, prepared in waiting])
        good = np.isfinite(rows).all(axis=1)
        excluded.update({number: "its features hold NaN or infinity"
                         for (number, _), fine in zip(waiting, good) if not fine})
        index.extend(number for (number, _), fine in zip(waiting, good) if fine)
        features.append(rows[good])
        logits.append(np.empty((int(good.sum()), 0), np.float32) if scores is None else scores[good])
        advance(len(waiting))
        waiting.clear()

    shared = [number for number in span if number in known]
    if shared:
        rows, scores = zip(*map(row_of, shared))
        index.extend(shared)
        features.append(np.stack(rows))
        logits.append(np.empty((len(shared), 0), np.float32) if scores[0] is None else np.stack(scores))
    fresh = [number for number in span if number not in known]
    for number, prepared in _prepared(images, fresh, space, pool, *work):
        if isinstance(prepared, InputError):
            excluded[number] = prepared.what
            advance(1)
            continue
        waiting.append((number, prepared))
        if len(waiting) == batch_size:
            flush()
    if waiting:
        flush()
    empty = [np.empty((0, space.width), np.float32)], [np.empty((0, space.num_logits), np.float32)]
    skipped = [[number, images.title(number), reason] for number, reason in sorted(excluded.items())]
    order = np.argsort(index, kind="stable")
    write_npz(path, compressed=False, pool_3=np.concatenate(features or empty[0])[order],
              logit=np.concatenate(logits or empty[1])[order],
              index=np.array(index, np.int64)[order], excluded=np.array(json.dumps(skipped)))


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


def _join(images, space, folder, change, made_by, keys):
    """Join the parts; set.json comes last and marks the set as complete."""
    import numpy as np

    from common.files import read_npz, write_json
    from common.formats.npz import write_npz_rows

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
    write_json(folder / "set.json", {"space": made_by, "count": count, "width": space.width,
                                     "num_logits": space.num_logits, "meta": meta, "name": space.name,
                                     "what": images.what,
                                     "excluded": [[title, reason] for _, title, reason in excluded]})
    for path in parts:
        path.unlink()


def report_excluded(encoded, shown=5):
    """Print which images of a set were skipped and why."""
    from common import console

    if not encoded.excluded:
        return
    console.say(f"warning: skipped {len(encoded.excluded):,} images of {encoded.what}:")
    for title, reason in encoded.excluded[:shown]:
        console.say(f"  {title}: {reason}")
    if len(encoded.excluded) > shown:
        console.say(f"  and {len(encoded.excluded) - shown:,} more")
