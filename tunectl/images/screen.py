"""A picture as a viewer shows it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from tunectl.images.picture import Picture


def for_screen(picture: Picture) -> Image.Image:
    """RGB at 8 bits in sRGB, turned upright, over white where it is transparent.

    A profile that cannot be read is left out, as viewers do.
    """
    pixels = _in_8_bits(picture.pixels, picture.peak)
    height, width, channels = pixels.shape
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    image = _in_srgb(Image.frombytes(mode, (width, height), pixels.tobytes()), picture.icc)
    if picture.alpha is not None:
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=Image.fromarray(_in_8_bits(picture.alpha, picture.peak)))
        image = white
    if picture.exif:
        image.getexif().load(picture.exif)
        image = ImageOps.exif_transpose(image)
    return image


def _in_8_bits(samples: NDArray[Any], peak: int) -> NDArray[np.uint8]:
    scaled = samples if samples.dtype == np.uint8 else samples * np.float32(255 / peak)
    found: NDArray[np.uint8] = np.clip(scaled, 0, 255).round().astype(np.uint8)
    return found


def _in_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")
