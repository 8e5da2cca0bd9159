"""One module per area (or several that start with its name); each registers its checks with `@check`."""
