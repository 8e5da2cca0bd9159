"""Which images have which labels: from BDD-OIA, a table, or classes, as the flags say."""

from pathlib import Path

from common.errors import InputError
from common.options import is_given
from tools.train_decision_model.bddoia import open_bddoia
from tools.train_decision_model.classes import open_classes
from tools.train_decision_model.sources import LabelledFiles, note_repeated
from tools.train_decision_model.tables import open_table


def open_source(options):
    """Return the Source that the flags name, checked."""
    given = [name for name in ("bddoia", "csv", "data") if getattr(options, name) is not None]
    if len(given) != 1:
        what = "no images" if not given else f"--{given[0]} and --{given[1]} are given"
        raise InputError(what, where="train_decision_model", do="Pass one of --bddoia, --csv and --data")
    others = {"csv": ("images", "val_csv", "val_images", "attributes"), "bddoia": ("reasons",)}
    for kind, names in others.items():
        wrong = next((name for name in names if getattr(options, name)), None)
        if kind != given[0] and wrong:
            raise InputError(f"needs --{kind}", where=f"--{wrong}", do="Leave it out")
    divided = options.val_csv if options.csv else options.bddoia or not Path(options.data).is_dir()
    if divided and is_given(options, "val_share"):
        raise InputError("acts where nothing says which images are held out", where="--val_share", do="Leave it out")
    if options.bddoia is not None:
        source = open_bddoia(Path(options.bddoia), options.reasons)
    elif options.csv is not None:
        source = open_table(options)
    else:
        source = open_classes(options)
    source.check()
    if isinstance(source.train, LabelledFiles):
        source.notes += note_repeated(source.train, source.val)
    return source
