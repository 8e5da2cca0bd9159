"""log.jsonl of a training run, one JSON object per line, and listeners that get each row: TensorBoard, W&B."""

import importlib.util
import json
import os
from functools import partial
from pathlib import Path

from common.errors import InputError
from common.files import append_text, system_errors, write_text


def read_log(path, needs_step=True):
    """Return the rows of a log.jsonl, [] when there is no file.

    Skips the half line of a killed run, any other line that is not a JSON object in UTF-8, and, with needs_step, rows
    without an integer `step`.
    """
    path, rows = Path(path), []
    if not path.exists():
        return rows
    with system_errors(path):
        lines = path.read_bytes().split(b"\n")
    for line in lines:
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and (not needs_step or type(row.get("step")) is int):
            rows.append(row)
    return rows


def check_listeners(**wanted):
    """Raise InputError for the first package of `tensorboard=..., wandb=...` that is requested but not installed."""
    for name, is_wanted in wanted.items():
        package = importlib.util.find_spec(name) if is_wanted else None
        if is_wanted and (package is None or package.origin is None):  # a plain folder of this name has no origin
            raise InputError("the package is not installed", where=name,
                             do=f"Run pip install {name}, or train without it: log.jsonl holds the same numbers")


class Log:
    """log.jsonl in a folder, with listeners beside it.

    tensorboard, wandb: send the numbers there too; their files go to folders of these names.  wandb: True, or the
    settings of its run: any of project, name, group, entity, id, and mode (online or offline).
    tags: {entry of a row: its name for them} where they differ.  listeners: more objects with add(values, step).
    """

    def __init__(self, folder, tensorboard=False, wandb=False, tags=None, listeners=()):
        check_listeners(tensorboard=tensorboard, wandb=bool(wandb))
        self.folder, self.path, self.tags = Path(folder), Path(folder) / "log.jsonl", tags or {}
        settings = wandb if isinstance(wandb, dict) else {}
        self.makers = [_TensorBoard] * tensorboard + [partial(_WeightsAndBiases, **settings)] * bool(wandb)
        self.listeners, self.own = list(listeners), []

    def start(self, done):
        """Drop the rows of steps after `done`, which will be repeated, and return the last remaining row or None."""
        rows = [row for row in read_log(self.path) if row["step"] <= done]
        write_text(self.path, "".join(f"{json.dumps(row)}\n" for row in rows))
        self.own = [make(self.folder, done + 1) for make in self.makers]
        return rows[-1] if rows else None

    def write(self, row):
        """Append a row, which must have `step`."""
        append_text(self.path, json.dumps(row) + "\n")
        self.tell({name: value for name, value in row.items() if name not in ("step", "seconds")}, row["step"])

    def tell(self, values, step):
        """Send the listeners {name: number}, without log.jsonl."""
        named = {self.tags.get(name, name): value for name, value in values.items()}
        for listener in (*self.listeners, *self.own):
            listener.add(named, step)

    def discard(self):
        """Remove log.jsonl where it has no row: a run ended before its first step, and must not block another."""
        if self.path.exists() and not self.path.stat().st_size:
            self.path.unlink()

    def close(self):
        """Flush and close TensorBoard and W&B."""
        for listener in self.own:
            listener.close()


class _TensorBoard:
    def __init__(self, folder, first):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first)
        self.close = self.writer.close

    def add(self, values, step):
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


class _WeightsAndBiases:
    """One W&B run per folder: its identifier is stored, so that a resumed training continues it.

    Without an API key it is offline: nothing is asked for on the terminal.
    """

    def __init__(self, folder, first, **settings):
        import wandb

        stored = folder / "wandb" / "run_id.txt"
        identifier = stored.read_text(encoding="utf-8") if stored.exists() else None
        mode = os.environ.get("WANDB_MODE") or ("online" if _has_wandb_key() else "offline")
        given = {"project": "genprobe", "name": folder.name, "id": identifier, "mode": mode,
                 **{name: value for name, value in settings.items() if value is not None}}
        try:
            self.run = wandb.init(dir=str(folder), resume="allow", **given)
        except wandb.Error as error:  # for example, not logged in
            raise InputError(f"W&B cannot start ({error})", where="wandb",
                             do="Run wandb login, or set WANDB_MODE=offline") from error
        write_text(stored, self.run.id)
        self.close = self.run.finish

    def add(self, values, step):
        self.run.log(values, step=step)


def _has_wandb_key():
    """True where an API key of W&B is in the environment or in ~/.netrc, as wandb login leaves it."""
    import netrc
    from urllib.parse import urlsplit

    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return bool(os.environ.get("WANDB_API_KEY")) or netrc.netrc().authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):  # of them, a file that is not text
        return False
