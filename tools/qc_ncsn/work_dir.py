"""The published layout of a work folder."""

from pathlib import Path


def work_dir(name):
    """Return qc_ncsn's folder for `--workdir name`: `results/name`; absolute paths, dotted ones, and those that begin
    with results/ already are unchanged."""
    path = Path(name)
    whole = path.is_absolute() or str(name).startswith(".") or (path.parts[0] == "results" and len(path.parts) > 1)
    return path if whole else Path("results") / path


class WorkDir:
    """The published layout of one qc_ncsn work folder (run_lib*.py)."""

    def __init__(self, name):
        self.root = work_dir(name)
        self.checkpoints = self.root / "checkpoints"
        self.meta_checkpoint = self.root / "checkpoints-meta" / "checkpoint.pth"
        self.samples = self.root / "samples"
        self.tensorboard = self.root / "tensorboard"
        self.log = self.root / "stdout.txt"
        self.json_log = self.root / "log.jsonl"
        self.nll = self.root / "nll"
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

    def sampling(self, ode=False):
        """Return the folder of samples, eval_sampling or eval_sampling_ode."""
        return self.root / ("eval_sampling_ode" if ode else "eval_sampling")

    def stat(self, ode=False):
        """Return the folder of encoded features, stat or stat_ode."""
        return self.root / ("stat_ode" if ode else "stat")

    def sample_files(self, ode=False):
        """Return the stored sample files, divisions and rounds in numeric order."""
        files = self.sampling(ode).glob("*/samples_*.npz")
        numbered = [path for path in files if path.parent.name.isdigit() and path.stem[8:].isdigit()]
        return sorted(numbered, key=lambda path: (int(path.parent.name), int(path.stem[8:])))
