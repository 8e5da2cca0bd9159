"""Feature spaces of images: encoding, stored statistics."""
