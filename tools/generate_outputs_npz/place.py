"""Where the record of an outputs.npz lies, and what is shown of it."""

from pathlib import Path

from common import console
from common.errors import InputError
from common.record import RECORD, command_of, read_record

NAME = "outputs.npz"


def output_path(options):
    """Return the path of the file to write: with the ending .npz, which numpy.savez adds, too."""
    path = Path(options.output_path)
    if path.name in ("", ".."):
        raise InputError("this is a folder", where=f"--output_path {options.output_path}", do="Pass the path of a file")
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")


def record_folder(options):
    """Return the folder of the record: beside the file where it has its usual name and no other command's record lies.

    Otherwise a folder named after the file, so that several files can lie in one folder.
    """
    path = output_path(options)
    if path.name == NAME and not _is_taken(path.parent / RECORD):
        return path.parent
    return path.parent / f"{path.stem}_record"


def _is_taken(path):
    if not path.exists():
        return False
    try:
        return command_of(read_record(path)) != "generate_outputs_npz"
    except InputError:  # the job says what is wrong with it
        return False


def show(results):
    """Print what was written, and what comes next."""
    console.show_table(results["output"], ["images", "with truth", "coordinates", "factor", "statistics", "MB"], [
        (f"{results['num_images']:,}", f"{results['with_truth']:,}", f"{results['num_dims']:,}",
         results["resize_factor"], f"of the {results['statistics']}", f"{results['bytes'] / 1e6:.3g}")])
    if results["with_truth"]:
        console.say(f"next: the other factors, then calibrate_rcps --outputs LEVEL={results['output']} ...")
    else:
        console.say(f"next: calibrate_rcps apply --outputs {results['output']}, with a calibration of this encoder")
