"""What the page of a folder of runs says first of generated images: see common.summary."""

from common.summary import Quantity, summariser

generate = summariser("Images of a BlobGAN", Quantity("num_images", "images"), Quantity("num_blobs", "blobs"),
                      Quantity("images_per_second", "speed", "images/s"),
                      pictures=[["preview.png", "the first images, their blobs below"], ["imgs/*", "image"],
                                ["blobs/*", "blobs"], ["*", "picture"]])
