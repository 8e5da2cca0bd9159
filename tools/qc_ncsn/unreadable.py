"""Images of a training set that could not be read: replaced by other draws, counted, and named in the work folder.

With their names a later run knows the set again when they have been repaired or removed: every other image must be the
same, and a removed one keeps its place, so that neither the splits nor the order of the images change.
"""

import threading

from common import console, parallel
from common.errors import InputError

SHOWN = 5  # images that are named on the screen
FIELDS = {"names": list, "recorded": dict, "without": dict}
PATTERN = "unreadable*.json"  # one of the main process, and one of each other process that met some


def stored_names(root):
    """Return the names of the images that could not be read in earlier runs in a work folder, sorted."""
    return sorted({name for path in root.glob(PATTERN) for name in _read(path)["names"]})


def recorded_fingerprint(root, images):
    """Return the fingerprint of a training set by which a run is compared with earlier ones in its work folder.

    It is the earlier runs' own when all that differs are images that could not be read then.
    """
    path = root / "unreadable.json"
    stored = _read(path) if path.exists() else {}
    current = images.fingerprint()
    if not {"recorded", "without"} <= set(stored) or current == stored["recorded"]:
        return current
    if images.fingerprint(stored["names"]) != stored["without"]:
        return current
    return stored["recorded"]


def _read(path):
    from common.files import check_fields, read_json

    stored = read_json(path)
    check_fields(stored, FIELDS, path)
    if not isinstance(stored.get("names"), list) or not all(isinstance(name, str) for name in stored["names"]):
        raise InputError("'names' is not a list of names", where=path, do="Restore or remove the file")
    return stored


class Unreadable:
    """The names, as they come up in a run; `add` may be called from several threads.

    root: the work folder.  images: the ImageSet.  recorded: the fingerprint that the run's record holds.
    """

    def __init__(self, root, images, recorded, names=()):
        self.root, self.images, self.recorded = root, images, recorded
        self.names, self._saved, self._lock = set(names), len(names), threading.Lock()
        self.met = set()  # in this run

    def add(self, number, error):
        """Note that an image could not be read."""
        name = self.images.names([number])[0]
        with self._lock:
            if len(self.met) < SHOWN and name not in self.met:
                console.say(f"note: {error.where}: {error.what}; another image is drawn in its place")
            self.met.add(name)
            self.names.add(name)
            if not parallel.is_main():  # the main process saves, and reads this then
                self._write(f"unreadable_{parallel.rank()}.json", {"names": sorted(self.names)})

    def save(self):
        """Write the names and what else identifies the set; the main process calls it when it saves the state."""
        with self._lock:
            self.names |= set(stored_names(self.root))
            if len(self.names) > self._saved:
                self._write("unreadable.json", {"names": sorted(self.names), "recorded": self.recorded,
                                                "without": self.images.fingerprint(self.names)})
                self._saved = len(self.names)

    def discard(self):
        """Remove what a run wrote here that ends before it has a state."""
        for path in self.root.glob(PATTERN):
            path.unlink()

    def _write(self, name, value):
        from common.files import write_json

        write_json(self.root / name, value)
