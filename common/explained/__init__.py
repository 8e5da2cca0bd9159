"""What can be explained: models of images behind one interface of signed objectives, opened by content."""
