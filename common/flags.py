"""Flags that several tools share: declared once, with one wording and one bound."""

from common.errors import InputError, Parameter
from common.options import ALL, option

LARGEST_SIDE = 8192  # in pixels, of a picture that a network is given
MOST_IMAGES = 10_000_000  # that a command generates, each of which it holds a line of
PRECISIONS = ["fp32", "tf32", "bf16"]


def whole_number(word):
    """Return the whole number of a word such as 10000, 10_000 or 1e4."""
    try:
        return int(word)
    except ValueError:
        value = float(word)
    if not value.is_integer() or abs(value) > 2**53:
        raise ValueError(word)
    return int(value)


def number_or_all(word):
    """Return the whole number of a word, or ALL."""
    return ALL if word.lower() == "all" else whole_number(word)


def device():
    """Return the flag of the device."""
    return option("auto", "auto, cpu, cuda, cuda:1 or mps", kind="how")


def seed(of, default=0):
    """Return the flag of the seed; of: what it shapes."""
    return option(default, f"random seed of {of}", low=0, high=2**32 - 1)


def precision(choices=PRECISIONS):
    """Return the flag of the network's compute precision; weights stay float32."""
    return option("fp32", "compute precision", choices=list(choices))


def compile():
    """Return the flag of torch.compile."""
    return option(False, "compile the network with torch.compile (worth it on a GPU)", kind="how")


def batch_size(default, short=None, help="images per forward pass"):
    """Return the flag of the number of images per forward pass, on which results do not depend."""
    return option(default, help, short=short, kind="how", low=1)


def num_workers(default, help, short=None, low=0):
    """Return the flag of the number of threads beside the main one."""
    return option(default, help, short=short, kind="how", low=low)


def accumulate():
    """Return the flag of gradient accumulation."""
    return option(1, "gradient-accumulation steps", kind="how", low=1)


def extractor():
    """Return the flag of the feature space."""
    return option("inception", "feature extractor; dinov2, clip and vgg16 need --weights",
                  choices=["inception", "small", "dinov2", "clip", "vgg16"])


def layer():
    """Return the flag of the layer of the FID Inception."""
    return option(2048, "inception: the layer whose means over positions are the features, as torch-fidelity and "
                  "pytorch-fid number them; only 2048 gives a FID", choices=[64, 192, 768, 2048])


def data_dir():
    """Return the flag of the folder of named data sets."""
    return option(None, "folder of the named data sets' files", kind="how")


def cache_gb():
    """Return the flag of the size of the cache of features."""
    return option(None, "GB that cached features may take in all; those used longest ago go first (GENPROBE_CACHE_GB, "
                  "else 20)", kind="how", low=0)


def memory_gb():
    """Return the flag of the memory for decoded images of a training set."""
    return option(4.0, "keep decoded images in memory where all of them fit into so many GB (per process)", kind="how",
                  low=0)


def tensorboard():
    """Return the flag of TensorBoard as a second log."""
    return option(False, "also log to TensorBoard (needs the package tensorboard)", kind="how")


def wandb():
    """Return the flag of Weights & Biases as a second log."""
    return option(False, "also log to Weights & Biases (needs the package wandb)", kind="how")


def class_map():
    """Return the flag of how the labels of a labelled source become classes."""
    return option("imagenet", "label-to-class map: imagenet, none (label - 1; folders by number or name), or a .json")


def npz_partial():
    """Return the flag that accepts an npz folder with missing batches."""
    return option(False, "accept an npz folder in which batches are missing; images are numbered over those there",
                  kind="how")


def npz_subset():
    """Return the flag of which batches of an npz folder are read."""
    return option("auto", "npz files: train (numbered), val, or auto: numbered ones if there are any",
                  choices=["auto", "train", "val"])


def parse_factors(words, name="resize_factors"):
    """Return the whole numbers from 1 in words separated by blanks or commas; InputError for others and for repeats.

    name: of the parameter.
    """
    found = " ".join(map(str, words)).replace(",", " ").split()
    wrong = [word for word in found if not word.isdecimal() or int(word) < 1]
    if wrong or not found:
        raise InputError("expected whole numbers from 1", where=Parameter(name, " ".join(wrong) or None),
                         do="Pass for example 1,16,32")
    factors = [int(word) for word in found]
    if len({*factors}) < len(factors):
        raise InputError("a factor is given twice", where=Parameter(name, " ".join(found)), do="Give each once")
    return factors
