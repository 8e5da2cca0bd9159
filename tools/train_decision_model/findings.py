"""What the page of a folder of runs says first of a training: see common.summary."""

from common.summary import Quantity, summariser

train = summariser("Training of a decision model",
                   Quantity("mean_accuracy", "accuracy", "%", "higher", scale=100),
                   Quantity("least_accuracy", "of the worst attribute", "%", "higher", scale=100),
                   Quantity("mean_balanced_accuracy", "balanced accuracy", "%", "higher", scale=100),
                   Quantity("mean_auroc", "AUROC", better="higher"), Quantity("mean_ece", "ECE", better="lower"),
                   Quantity("held_out", "held-out images"), Quantity("steps", "steps"),
                   pictures=[["reliability.png", "share of positives by predicted probability"],
                             ["inputs.png", "images as the network sees them"]])
