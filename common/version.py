"""The version, with the commit where the code runs from a clone."""

import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent


def version_line(name="genprobe", root=ROOT):
    """Return a line such as "train_edm, genprobe 0.1.0 (commit 1a2b3c4d5e, with changes)"."""
    head = name if name == "genprobe" else f"{name}, genprobe"
    return " ".join([head, _release(root), *([f"({commit})"] if (commit := _commit(root)) else [])])


def _release(root):
    settings = root / "pyproject.toml"
    if settings.is_file():  # of a clone, which another version may have been installed beside
        return tomllib.loads(settings.read_text(encoding="utf-8"))["project"]["version"]
    try:
        return version("genprobe")
    except PackageNotFoundError:
        return "of unknown version"


def _commit(root):
    """Return "commit 1a2b3c4d5e", with a word on changed files; None outside a clone or when git does not answer."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():  # installed into a folder of somebody's own repository
        return None
    commit = _git(root, "rev-parse", "--short=10", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit and f"commit {commit}{', with changes' if changed else ''}"


def _git(root, *words):
    """Return what git says, None where it fails or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
