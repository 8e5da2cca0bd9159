"""Cut raw photos into a chunked data set: tiles of several scales, a reference and the place of each tile in it.

`inspect` looks at a data set: counts, sizes, checks of every folder, a picture. `items` shows what training sees of it.
"""

import sys

from common.cli import run
from common.errors import InputError

PROG = "extract_subimages"
DESCRIPTION = """\
Raw photos -> chunked data set: for each photo a folder of tiles at several scales, ref.jpg (the whole square, small)
and centers.pt (where each tile lies in it); or tar shards, parquet, or one square a photo to cut when reading."""
EPILOG = """\
subcommands:
  inspect      counts, sizes and checks of a data set, and a picture of it
  items        a picture of a data set's items, from the block of a training configuration

examples:
  extract_subimages --input_folder photos --save_folder out/tiles --crop_sz 256 512 --step 128 256 --preview 4
  extract_subimages --input_folder photos --save_folder out/packed --layout packed --format webp --compression_level 90
  extract_subimages inspect out/tiles"""


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    words = list(sys.argv[1:] if words is None else words)
    if words and words[0] == "inspect":
        from tools.extract_subimages.inspection import InspectOptions, inspect

        description = "Count and check everything in a chunked data set; exit status 2 when something is broken."
        return run(inspect, InspectOptions, f"{PROG} inspect", description, "", words[1:], "inspect")
    if words and words[0] == "items":
        from tools.extract_subimages.items import ItemsOptions, show_items

        description = "Draw the first items of a data set: corrupted beside clean, a tile's place, the multiscale tree."
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
    """Print what an extraction made."""
    from tools.extract_subimages.run import show

    show(results)


if __name__ == "__main__":
    sys.exit(cli())
