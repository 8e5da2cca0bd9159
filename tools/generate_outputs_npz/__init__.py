"""What a quantile encoder says of a folder of images, as outputs.npz."""
