"""How images were brought to a size before their features were taken: what two sets tell of it, compared.

Entries of a set's metadata: `resolution` (height, width; [0] for images as they are), `resolution_fit` (cover, which
need not be told, or squash), `resolution_filter` (bilinear, which need not be told, or lanczos),
`resolution_antialias`, and `generated` where a network made them: these were not brought to their size, but may tell
how the images that it was trained on were.
"""

TELLS = "the distance tells of this difference too"


def compare_preparations(*sides):
    """Return a note where two sets tell that their images were brought to different sizes, or in other ways.

    sides: two pairs (metadata, name).  Of generated images and images as they are nothing is said. Where a generator
    tells that it was trained on squashed images, a reference that tells nothing is noted as well.
    """
    telling = [(meta, name) for meta, name in sides if "resolution" in meta]
    made = [(meta, name) for meta, name in telling if meta.get("generated")]
    if len(telling) < 2:
        squashed = [(meta, name) for meta, name in made if meta.get("resolution_fit") == "squash"]
        unknown = next((name for meta, name in sides if "resolution" not in meta), None)
        return [f"how the images of {unknown} were prepared is unknown, and those that {name} was trained on were "
                f"squashed: {told(meta)}; the original setup_fid crops a square" for meta, name in squashed]
    if made and any(_size(meta) == "as they are" for meta, _ in telling):
        return []
    known = all("resolution_fit" in meta for meta, _ in made)  # of generators, how their training images were brought
    if len({told(meta, bool(made), known) for meta, _ in telling}) == 1:
        return []
    details = ", ".join(f"{name} {told(meta, bool(made))}" for meta, name in telling)
    return [f"the images were not prepared alike: {details}; {TELLS}"]


def told(meta, made=False, fit=True):
    """Return how images were prepared, in words. made: without the filter.  fit: with squashed, where they were."""
    words = _size(meta) + (" squashed" if fit and meta.get("resolution_fit") == "squash" else "")
    if made:
        return words
    lanczos = ", Lanczos" if meta.get("resolution_filter") == "lanczos" else ""
    return words + lanczos + (", antialias off" if meta.get("resolution_antialias") is False else "")


def _size(meta):
    size = meta["resolution"]
    size = size if isinstance(size, list) else [size]
    return "as they are" if size == [0] else " x ".join(map(str, [size[0], size[-1]]))
