"""What the page of a folder of runs says first of generated images: see common.summary."""

from common.summary import Quantity, summariser

generate = summariser("Images of a StyleGAN2 with their latents", Quantity("num_images", "images"),
                      Quantity("images_per_second", "speed", "images/s"),
                      pictures=[["preview.png", "the first images, a row for each resize factor"]])
