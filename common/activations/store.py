"""The published form of activations: batch_<unit>.npz, one array per layer, rows of good samples only.

A unit is a range of samples that is written as one. It can be written by several processes (disjoint units), killed at
any moment and resumed, as the fast form (`flat`).
"""

from common.activations.layout import batch_name


class NpzForm:
    """Batches of activations as .npz, stored, or deflated as in the original."""

    name = "npz"

    def __init__(self, tree, widths, dtype, count, per_unit, compressed=False):
        """widths: {layer: values per row}, in the order in which layers run.  count: total number of samples."""
        self.tree, self.widths, self.dtype, self.compressed = tree, widths, dtype, compressed
        self.count, self.per_unit = count, per_unit

    def prepare(self):
        """Create the folder."""
        from common.files import system_errors

        with system_errors(self.tree.activations):
            self.tree.activations.mkdir(parents=True, exist_ok=True)

    def path(self, unit):
        """Return a unit's file."""
        return self.tree.activations / f"{batch_name(unit)}.npz"

    def rows_there(self, unit):
        """Return the number of rows of a complete unit, else None (from its headers)."""
        from common.errors import InputError
        from common.formats.npz import npz_shape

        path = self.path(unit)
        if not path.exists():
            return None
        try:
            shapes = [npz_shape(path, layer) for layer in self.widths]
        except InputError:
            return None
        rows = shapes[0][0][0]
        good = all(shape == (rows, width) and dtype == self.dtype
                   for (shape, dtype), width in zip(shapes, self.widths.values()))
        return rows if good else None

    def write(self, unit, rows, arrays):
        """Write the {layer: (n, D)} of a unit's good samples; rows: their places in the unit."""
        from common.files import write_npz

        write_npz(self.path(unit), self.compressed, **{layer: arrays[layer] for layer in self.widths})

    def old_layout(self):
        """Return None: this form has only one layout."""
        return

    def close(self):
        """Do nothing: no file stays open."""

    def finish(self):
        """Do nothing: units are final as written."""

    def place(self, position, row):
        """Return (activation_path, batch_index) of the sample at a position, the `row`-th good one of its unit."""
        return f"{self.tree.relative(self.tree.activations)}/{batch_name(position // self.per_unit)}", row

    def outputs(self):
        """Return the files of a finished run."""
        return [self.path(unit) for unit in range(-(-self.count // self.per_unit))]
