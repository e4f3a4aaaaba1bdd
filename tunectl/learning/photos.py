"""Clean photos in memory, and training patches cut from them on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tunectl.errors import DataError, PictureError
from tunectl.images import find_pictures, read_rgb8


class Photos:
    """Photos decoded once, as one table of 8-bit RGB pixels on the device.

    A patch is one gather from that table, flips and rotation included, so that neither decoding
    nor slicing ever keeps an accelerator waiting. 100 megapixels take 300 MB.
    """

    def __init__(self, paths: Sequence[Path], patch: int, device: torch.device) -> None:
        """Raises DataError if no photo is at least `patch` pixels high and wide."""
        arrays, self.skipped = [], []
        for path in paths:
            try:
                array = read_rgb8(path)
            except PictureError as error:
                self.skipped.append(f"{error.message}")
                continue
            if min(array.shape[:2]) < patch:
                self.skipped.append(f"{path}: smaller than a patch of {patch} pixels")
            else:
                arrays.append(array)
        if not arrays:
            raise DataError(
                f"no photo of at least {patch}x{patch} pixels among {len(paths)} files",
                "name a folder of photos with --data, or lower --patch",
            )
        self.count = len(arrays)
        self.patch = patch
        heights = torch.tensor([a.shape[0] for a in arrays], device=device)
        self._widths = torch.tensor([a.shape[1] for a in arrays], device=device)
        self._rows = heights - patch + 1
        self._columns = self._widths - patch + 1
        areas = heights * self._widths
        self._starts = torch.cumsum(areas, 0) - areas
        self._shares = torch.cumsum((self._rows * self._columns).double(), 0)
        self._shares /= self._shares[-1].clone()
        table = np.concatenate([a.reshape(-1, 3) for a in arrays])
        self.megapixels = len(table) / 1e6
        self._pixels = torch.from_numpy(table).to(device)

    def patches(self, count: int, gray: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` patches (N, 3, P, P) in [0, 1], channels last, and which of them are gray (N,).

        Every position in every photo is equally likely; a share `gray` has its channels averaged.
        The other patches have their channels permuted one time in eight, which keeps saturated
        colours of every hue in the diet.
        """
        device = self._pixels.device
        draw = torch.rand(8, count, generator=generator, device=device)
        photo = torch.searchsorted(self._shares, draw[0].double()).clamp_max(self.count - 1)
        top = (draw[1] * self._rows[photo]).long()
        left = (draw[2] * self._columns[photo]).long()
        ramp = torch.arange(self.patch, device=device).expand(count, -1)
        rows = torch.where(draw[3][:, None] < 0.5, ramp, ramp.flip(1))[:, :, None]
        columns = torch.where(draw[4][:, None] < 0.5, ramp, ramp.flip(1))[:, None, :]
        turned = (draw[5] < 0.5)[:, None, None]
        rows, columns = (
            torch.where(turned, columns, rows),
            torch.where(turned, rows, columns),
        )
        index = self._starts[photo][:, None, None] + (
            (top[:, None, None] + rows) * self._widths[photo][:, None, None]
            + left[:, None, None]
            + columns
        )
        clean = self._pixels[index].float().div_(255)
        is_gray = draw[6] < gray
        clean = torch.where(is_gray[:, None, None, None], clean.mean(3, keepdim=True), clean)
        order = torch.rand(count, 3, generator=generator, device=device).argsort(1)
        order = torch.where((draw[7] < 0.125)[:, None], order, torch.arange(3, device=device))
        clean = clean.gather(3, order[:, None, None, :].expand_as(clean))
        return clean.permute(0, 3, 1, 2), is_gray


def load_crops(paths: Sequence[Path], size: int, limit: int | None = None) -> list[Tensor]:
    """The middle `size` by `size` pixels of up to `limit` pictures, as uint8 (3, h, w)."""
    chosen = (
        list(paths) if limit is None else [paths[i * len(paths) // limit] for i in range(limit)]
    )
    crops = []
    for path in chosen:
        array = read_rgb8(path)
        top, left = (max(0, (side - size) // 2) for side in array.shape[:2])
        crops.append(torch.from_numpy(array[top : top + size, left : left + size].copy()))
    return [crop.permute(2, 0, 1) for crop in crops]


def list_photos(folder: Path, exclude: Sequence[str] = ()) -> list[Path]:
    """Pictures below `folder`, sorted, without those whose name matches a pattern in `exclude`.

    Raises DataError if none is left.
    """
    found = [p for p in find_pictures(folder) if not any(p.match(pattern) for pattern in exclude)]
    if not found:
        raise DataError(f"{folder}: holds no photos", "name a folder of clean photos")
    return found
