"""Cut raw photos into a chunked data set: tiles at several scales, a reference image, and each tile's position in it.

`inspect` checks a data set: counts, sizes, every folder, a contact sheet. `items` shows what training sees of it.
"""

import sys

from common.cli import leave, run
from common.errors import InputError

PROG = "extract_subimages"
DESCRIPTION = """\
Cuts raw photos into a chunked data set: per photo a folder of tiles at several scales, ref.jpg (the whole square,
downsized) and centers.pt (the position of each tile in it); or tar shards, parquet, or one square per photo that
readers cut."""
EPILOG = """\
subcommands:
  inspect      counts, sizes and checks of a data set, and a contact sheet
  items        a contact sheet of training items, from a block of a training configuration

examples:
  extract_subimages --input_folder photos --save_folder out/tiles --crop_sz 256 512 --step 128 256 --preview 4
  extract_subimages --input_folder photos --save_folder out/packed --layout packed --format webp --compression_level 90
  extract_subimages inspect out/tiles"""


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    words = list(sys.argv[1:] if words is None else words)
    if words and words[0] == "inspect":
        from tools.extract_subimages.inspection import InspectOptions, inspect

        description = "Count and check everything in a chunked data set; exit status 2 if anything is broken."
        return run(inspect, InspectOptions, f"{PROG} inspect", description, "", words[1:], "inspect")
    if words and words[0] == "items":
        from tools.extract_subimages.items import ItemsOptions, show_items

        description = "Draw items of a data set: corrupted beside clean, the tile's position, the multiscale tree."
        return run(show_items, ItemsOptions, f"{PROG} items", description, "", words[1:], "items")
    from tools.extract_subimages.options import SubimageOptions, expand

    try:
        words = expand(words)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return run(main, SubimageOptions, PROG, DESCRIPTION, EPILOG, words, place=lambda options: options.save_folder,
               show=show)


def main(options):
    """Run the extraction; results: see tools.extract_subimages.run."""
    from tools.extract_subimages.run import main

    return main(options)


def show(results):
    """Print the results of an extraction."""
    from tools.extract_subimages.run import show

    show(results)


if __name__ == "__main__":
    leave(cli)
