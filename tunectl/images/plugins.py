"""HEIC and JPEG XL by the packages that add them to Pillow, imported when a file needs them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import BinaryIO

from PIL import ImageFile

from tunectl.errors import PictureError

Opener = Callable[[BinaryIO], ImageFile.ImageFile]
# Where each opener is, and the extra of ours that installs it.
PACKAGES = {
    "HEIF": ("pillow_heif", "HeifImageFile", "heic"),
    "JXL": ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile", "jxl"),
}


def opener(kind: str, name: str) -> Opener:
    """What opens a file of a kind in PACKAGES; from now on Pillow saves that kind too.

    Raises PictureError, beginning with `name`, if the package is not installed.
    """
    module, opens, extra = PACKAGES[kind]
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise PictureError(
            f"{name}: the package that reads and writes {kind} is not installed",
            f"run: pip install 'tunectl[{extra}]'",
        ) from error
    if kind == "HEIF":
        found.register_heif_opener()
    result: Opener = getattr(found, opens)
    return result
