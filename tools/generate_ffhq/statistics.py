"""Statistics of a generator's StyleSpace, beside its images: mapping and affine layers alone, nothing is rendered."""

from common.files import write_npy, write_npz
from common.style_space import StyleStatistics, style_dims, style_statistics
from common.units import stored_arrays

NAMES = ("mean", "min", "max", "std")
FILE = "style_statistics.npz"


def read_or_write(folders, generator, count):
    """Return the StyleStatistics over `count` codes, and write them into folders where they are missing.

    Also as the three mean|min|max_style_space_vector.npy of the original. Codes are the same for every seed.
    """
    import torch

    from common.seeding import unit_generator

    network = generator.network
    stored = [stored_arrays(folder / FILE, (*NAMES, "style_dims", "latent_avg", "num_codes")) for folder in folders]
    there = next((arrays for arrays in stored if arrays is not None), None)
    if there is None:
        codes = torch.randn(count, network.config.style_dim, generator=unit_generator(0, "style statistics"))
        statistics = style_statistics(network, codes)
    else:
        statistics = StyleStatistics(*(there[name] for name in NAMES), int(there["num_codes"]))
    for folder, arrays in zip(folders, stored):
        if arrays is None:
            _write(folder, statistics, generator)
    return statistics


def _write(folder, statistics, generator):
    for name in ("mean", "min", "max"):
        write_npy(folder / f"{name}_style_space_vector.npy", getattr(statistics, name))
    write_npz(folder / FILE, **{name: getattr(statistics, name) for name in NAMES},
              style_dims=style_dims(generator.network.widths), num_codes=statistics.num_codes,
              latent_avg=generator.centre.cpu().numpy())
