"""Pixels in and out without loss."""

from tunectl.images.arrays import empty_like, new_array, release
from tunectl.images.files import find_pictures
from tunectl.images.picture import Component, Picture, in_rgb, output_format
from tunectl.images.read import MAX_PIXELS, read_pair, read_picture, read_rgb8, rgb8
from tunectl.images.transparency import fill_transparent
from tunectl.images.write import encode_picture, write_picture

__all__ = [
    "MAX_PIXELS",
    "Component",
    "Picture",
    "empty_like",
    "encode_picture",
    "fill_transparent",
    "find_pictures",
    "in_rgb",
    "new_array",
    "output_format",
    "read_pair",
    "read_picture",
    "read_rgb8",
    "release",
    "rgb8",
    "write_picture",
]
