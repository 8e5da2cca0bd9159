"""Class labels of generated images: which class an image gets, and the vectors that the network reads."""

from common.errors import InputError

UNIFORM = -1  # the class that stands for equal weights of all


def class_sequence(seed, num_samples, num_classes, samples_per_class=None):
    """Return the classes (num_samples,) int64 of images 0 .. num_samples - 1.

    samples_per_class: class 0 that many times, then class 1, ..., beginning again after the last; without it they are
    the draws of numpy's RandomState(seed), as in DMD2's tools: the first n do not depend on num_samples.
    """
    import numpy as np

    if samples_per_class is None:
        return np.random.RandomState(seed).randint(0, num_classes, num_samples).astype(np.int64)
    return np.arange(num_samples, dtype=np.int64) // samples_per_class % num_classes


def class_vectors(classes, label_dim, device="cpu"):
    """Return the network's labels (n, label_dim) float32 of classes (n,): one-hot, or 1 / label_dim throughout for -1.

    None for an unconditional network (label_dim 0). Raises InputError for a class that the network has not.
    """
    import torch

    if label_dim == 0:
        return None
    classes = torch.as_tensor(classes, dtype=torch.int64).reshape(-1)
    wrong = classes[(classes < UNIFORM) | (classes >= label_dim)]
    if len(wrong):
        do = f"Use 0 .. {label_dim - 1}, or {UNIFORM} for equal weights of all"
        raise InputError(f"class {int(wrong[0])} is out of range for a network of {label_dim} classes", do=do)
    vectors = torch.zeros(len(classes), label_dim)
    vectors[torch.arange(len(classes)), classes.clamp(min=0)] = 1.0
    vectors[classes == UNIFORM] = 1.0 / label_dim
    return vectors.to(device)
