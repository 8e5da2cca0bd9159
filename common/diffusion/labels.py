"""Class labels of generated images: the integers, and the one-hot vectors that the network reads."""

from common.errors import InputError

UNIFORM = -1  # the label for equal weights of all classes


def class_sequence(seed, num_samples, num_classes, samples_per_class=None):
    """Return the labels (num_samples,) int64 of images 0 .. num_samples - 1.

    samples_per_class: class 0 that many times, then class 1, ..., starting over after the last; without it they are
    the draws of numpy's RandomState(seed), as in DMD2's tools: the first n do not depend on num_samples.
    """
    import numpy as np

    if samples_per_class is None:
        return np.random.RandomState(seed).randint(0, num_classes, num_samples).astype(np.int64)
    return np.arange(num_samples, dtype=np.int64) // samples_per_class % num_classes


def class_vectors(labels, label_dim, device="cpu"):
    """Return class_labels (n, label_dim) float32 of labels (n,): one-hot, or 1 / label_dim throughout for -1.

    None for an unconditional network (label_dim 0). Raises InputError for a label out of range.
    """
    import torch

    if label_dim == 0:
        return None
    labels = torch.as_tensor(labels, dtype=torch.int64).reshape(-1)
    wrong = labels[(labels < UNIFORM) | (labels >= label_dim)]
    if len(wrong):
        do = f"Use 0 .. {label_dim - 1}, or {UNIFORM} for equal weights of all classes"
        raise InputError(f"class {int(wrong[0])} is out of range for a network of {label_dim} classes", do=do)
    class_labels = torch.zeros(len(labels), label_dim)
    class_labels[torch.arange(len(labels)), labels.clamp(min=0)] = 1.0
    class_labels[labels == UNIFORM] = 1.0 / label_dim
    return class_labels.to(device)
