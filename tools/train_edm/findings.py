"""What the page of a folder of runs says first of a training: see common.summary."""

from common.summary import Quantity, summariser

train = summariser("Training of an EDM network", Quantity("ema_loss", "loss of the EMA weights", better="lower"),
                   Quantity("training_loss", "training loss", better="lower"), Quantity("steps", "steps"),
                   Quantity("images", "images"), Quantity("classes", "classes"), Quantity("parameters", "parameters"),
                   pictures=[["samples.png", "samples of the trained network, a row for each class"],
                             ["samples/*.png", "samples during training"]])
