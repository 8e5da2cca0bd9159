"""What the page of a folder of runs says first of a training: see common.summary."""

from common.summary import Quantity, summariser

train = summariser("Training of a BlobGAN", Quantity("fid", "Fréchet distance of the checkpoint kept",
                                                      better="lower"),
                   Quantity("loss_G", "generator's loss"), Quantity("loss_D", "discriminator's loss"),
                   Quantity("steps", "steps"), Quantity("images", "images"), Quantity("parameters", "parameters"),
                   pictures=[["*blobs*.png", "layouts during training"], ["*.png", "images during training"],
                             ["*/*.png", "images during training"]])
