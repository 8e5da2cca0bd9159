"""What the page of a folder of runs says first of stored statistics: see common.summary."""

from common.summary import Quantity, summariser

compute = summariser("Statistics of a data set", Quantity("num_images", "images"), Quantity("excluded", "left out"),
                     Quantity("width", "features"))
