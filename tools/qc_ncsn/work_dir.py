"""The published layout of a work folder."""

from pathlib import Path

SERIES = "by_checkpoint"  # folder of the evaluations of several checkpoints


def work_dir(name):
    """Return qc_ncsn's folder for `--workdir name`: `results/name`; absolute paths, dotted ones, and those that begin
    with results/ already are unchanged."""
    path = Path(name)
    whole = path.is_absolute() or str(name).startswith(".") or (path.parts[0] == "results" and len(path.parts) > 1)
    return path if whole else Path("results") / path


class WorkDir:
    """The published layout of one qc_ncsn work folder (run_lib*.py).

    by_checkpoint/<number> below it is laid out in the same way, for what is made of that snapshot alone; so is
    by_checkpoint itself, for what all of them share.
    """

    def __init__(self, name):
        self.root = work_dir(name)
        self.number, self.training, self.series = None, self.root, self.root / SERIES
        for series in (self.root, self.root.parent):
            if series.name == SERIES and (series.parent / "checkpoints").is_dir():
                self.training, self.series = series.parent, series
                self.number = int(self.root.name) if series != self.root and self.root.name.isdigit() else None
        self.checkpoints = self.training / "checkpoints"
        self.meta_checkpoint = self.training / "checkpoints-meta" / "checkpoint.pth"
        self.samples = self.root / "samples"
        self.tensorboard = self.root / "tensorboard"
        self.log = self.root / "stdout.txt"
        self.json_log = self.root / "log.jsonl"
        self.nll = self.root / "nll"
        self.dsm = self.root / "dsm"
        self.asym = self.root / "asym"
        self.asym_exact = self.root / "asym_exact"

    def checkpoint(self, index):
        """Return the path of snapshot `index`, checkpoints/checkpoint_<index>.pth."""
        return self.checkpoints / f"checkpoint_{index}.pth"

    def snapshots(self):
        """Return [(number, path)] of the snapshots, the highest number first."""
        return sorted(((int(path.stem.split("_")[1]), path) for path in self.checkpoints.glob("checkpoint_*.pth")
                       if path.stem.split("_")[1].isdigit()), reverse=True)

    def newest_checkpoint(self):
        """Return the snapshot with the highest number, or None."""
        snapshots = self.snapshots()
        return snapshots[0][1] if snapshots else None

    def default_checkpoint(self):
        """Return the checkpoint of commands that name none, None where there is none: the folder's own of a series,
        the published one (70) in a folder of the original's, without a record, else the newest."""
        if self.number is not None:
            return self.checkpoint(self.number) if self.checkpoint(self.number).exists() else None
        if self.checkpoint(70).exists() and not (self.training / "run.json").exists():
            return self.checkpoint(70)
        return self.newest_checkpoint() or (self.meta_checkpoint if self.meta_checkpoint.exists() else None)

    def sampling(self, ode=False):
        """Return the folder of samples, eval_sampling or eval_sampling_ode."""
        return self.root / ("eval_sampling_ode" if ode else "eval_sampling")

    def stat(self, ode=False):
        """Return the folder of encoded features, stat or stat_ode."""
        return self.root / ("stat_ode" if ode else "stat")

    def reference_places(self, ode=False):
        """Return the paths where encoded features of the data set may lie, the nearest first."""
        stat, places = "stat_ode" if ode else "stat", [self.root]
        if self.number is not None:
            places += [self.series, self.training]
        return [place / stat / "dataset_stat.npz" for place in places]

    def sample_files(self, ode=False):
        """Return the stored sample files, divisions and rounds in numeric order."""
        files = self.sampling(ode).glob("*/samples_*.npz")
        numbered = [path for path in files if path.parent.name.isdigit() and path.stem[8:].isdigit()]
        return sorted(numbered, key=lambda path: (int(path.parent.name), int(path.stem[8:])))
