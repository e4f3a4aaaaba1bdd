"""Pixels in and out without loss."""

from tunectl.images.files import find_pictures
from tunectl.images.picture import Picture, read_picture, read_rgb8, write_picture

__all__ = ["Picture", "find_pictures", "read_picture", "read_rgb8", "write_picture"]
