"""Arrays and PIL pictures in the form that windows are cut from, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from tunectl.errors import UsageError
from tunectl.images import fill_transparent, read_picture
from tunectl.images.arrays import STRIP, new_array
from tunectl.tasks.base import Evidence, eight_bit_scale

FAR = 10.0  # from 0, of floats: strong noise lies outside [0, 1], and bytes far beyond
AnyPicture: TypeAlias = Tensor | Image.Image | NDArray[np.generic]


def planes(array: NDArray[Any]) -> Tensor:
    """(H, W, C) seen as a tensor (C, H, W), without a copy."""
    return torch.from_numpy(array).permute(2, 0, 1)


def samples(array: NDArray[Any]) -> NDArray[Any]:
    """The array as uint8, uint16 or float32, copied where torch would not take it.

    Raises UsageError for samples of other types, or that are no numbers or far from [0, 1].
    """
    if np.issubdtype(array.dtype, np.floating):
        _check_range(array)
        array = array.astype(np.float32, copy=False)
    if array.dtype.newbyteorder("=") in (np.uint8, np.uint16, np.float32):
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        # Torch takes neither views that run backwards nor memory that is read-only.
        backwards = any(step < 0 for step in array.strides)
        return array.copy() if backwards or not array.flags.writeable else array
    raise UsageError(f"samples of type {array.dtype} are not known", "give uint8 or floats")


def _check_range(array: NDArray[Any]) -> None:
    low, high = array.min(initial=0), array.max(initial=0)
    if not (low >= -FAR and high <= FAR):  # so that what is no number is neither
        raise UsageError(
            f"samples from {low:g} to {high:g} are not in [0, 1]", "scale them to it first"
        )


def _checked(x: Tensor) -> Tensor:
    _check_range(x.numpy())
    return x


def apart(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The colours (H, W, 1 or 3) and, of two or four channels, the opacity (H, W) of an array.

    Raises UsageError for other shapes.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise UsageError(
            f"an array of shape {pixels.shape} is not a picture",
            "give (H, W), (H, W, 1 or 3), or (H, W, 2 or 4) with an opacity",
        )
    return (pixels, None) if pixels.shape[2] % 2 else (pixels[..., :-1], pixels[..., -1])


def evidence(
    pixels: NDArray[Any],
    tables: Mapping[int, Sequence[int]] | None,
    seen: NDArray[np.bool_] | None,
) -> Evidence:
    """What an array, (H, W) or as `apart` takes it, tells of itself; `tables` and `seen` are as
    `Evidence` has them, the latter by default what is not transparent."""
    colours, opacity = apart(pixels[..., None] if pixels.ndim == 2 else pixels)
    if seen is None and opacity is not None and not opacity.all():
        seen, colours = opacity > 0, fill_transparent(colours, opacity)
    return Evidence(samples(colours), tables, seen)


def as_seen(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 4), the inks of CMYK, as the (H, W, 3) that they show, roughly; others as they are."""
    if pixels.shape[2] != 4:
        return pixels
    white = 255 / eight_bit_scale(pixels)
    seen = new_array((*pixels.shape[:2], 3), pixels.dtype)
    for top in range(0, len(pixels), STRIP):
        inks = pixels[top : top + STRIP].astype(np.float32) / white
        light = (1 - inks[..., :3]) * (1 - inks[..., 3:]) * white
        seen[top : top + STRIP] = light if white == 1 else light.round()
    return seen


def open_upright(path: str | Path) -> Image.Image:
    """A file's picture as a viewer shows it, mode L, LA, RGB or RGBA, its profile in `info`.

    Raises PictureError for a file that cannot be read, UsageError for one that a PIL picture
    cannot hold without loss.
    """
    picture = read_picture(Path(path))
    if picture.pixels.dtype != np.uint8 or picture.pixels.shape[2] == 4:
        raise UsageError(
            f"{path}: has more than 8 bits a sample, or inks, which no PIL picture holds",
            "use `tunectl apply`, or give its samples as an array",
        )
    pixels = (
        [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha[..., None]]
    )
    array = np.concatenate(pixels, axis=2)
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if picture.exif is not None:
        image.info["exif"] = picture.exif
    image = ImageOps.exif_transpose(image)
    if picture.icc is not None:
        image.info["icc_profile"] = picture.icc
    return image


def through(picture: AnyPicture, run: Callable[[Tensor], Tensor], scale: int) -> AnyPicture:
    """A picture of the same kind, with `run` over its colours.

    `run` makes (C, H, W) of it, uint8, uint16 or float32, into the same, `scale` times as large.
    Opacity and, of a PIL picture, `info`, such as its profile, are kept. Raises UsageError for
    what is no picture.
    """
    if isinstance(picture, Tensor):
        batch = picture[None] if picture.ndim == 3 else picture
        known = batch.ndim == 4 and batch.shape[1] in (1, 3) and 0 not in batch.shape
        if not known or not batch.is_floating_point():
            raise UsageError(
                f"a tensor of shape {tuple(picture.shape)} and type {picture.dtype} cannot be "
                "restored",
                "give (N, 3, H, W) in [0, 1], or (N, 1, H, W) for gray",
            )
        restored = torch.stack([run(_checked(x.detach().cpu().float())) for x in batch])
        restored = restored.to(picture.device, picture.dtype)
        return restored[0] if picture.ndim == 3 else restored
    if isinstance(picture, Image.Image):
        if picture.mode not in ("L", "LA", "RGB", "RGBA"):
            raise UsageError(
                f"a PIL picture of mode {picture.mode} is not restored as it is",
                "convert it to L, LA, RGB or RGBA",
            )
        if "transparency" in picture.info:  # of one colour, which will not be the same any more
            picture = picture.convert("LA" if picture.mode == "L" else "RGBA")
        made = Image.fromarray(_through_array(np.array(picture), run, scale))
        made.info = dict(picture.info)
        return made
    if isinstance(picture, np.ndarray):
        return _through_array(picture, run, scale)
    raise UsageError(
        f"a {type(picture).__name__} is not a picture",
        "give a tensor, an array, a PIL picture or the name of a file",
    )


def _through_array(
    array: NDArray[Any], run: Callable[[Tensor], Tensor], scale: int
) -> NDArray[Any]:
    colours, opacity = apart(array[..., None] if array.ndim == 2 else array)
    shown = colours if opacity is None else fill_transparent(colours, opacity)
    restored = run(planes(samples(shown))).permute(1, 2, 0).numpy()
    restored = restored.astype(array.dtype, copy=False)
    if opacity is not None:
        if scale == 1:
            restored[opacity == 0] = colours[opacity == 0]
        restored = np.concatenate([restored, enlarged(opacity, scale)[..., None]], axis=2)
    return restored[..., 0] if array.ndim == 2 else restored


def enlarged(plane: NDArray[Any], scale: int) -> NDArray[Any]:
    """(H, W) made `scale` times as high and wide, linear between pixels."""
    if scale == 1:
        return plane
    as_tensor = torch.from_numpy(plane.astype(np.float32))[None, None]
    larger = interpolate(as_tensor, scale_factor=scale, mode="bilinear")[0, 0].numpy()
    return (larger.round() if plane.dtype.kind == "u" else larger).astype(plane.dtype)
