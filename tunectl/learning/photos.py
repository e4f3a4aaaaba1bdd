"""Clean photos, or pairs, and training patches cut from them on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

import torch
from torch import Tensor

from tunectl.errors import DataError, PictureError, UsageError
from tunectl.images import find_pictures
from tunectl.learning.table import Source, Table, files_of, read_source
from tunectl.text import read_text

CROPS, CROP_SIZE = 12, 192  # to validate on: how many, and pixels a side of each
LIST = ".txt"  # ending of a file that names photos, a line each


class Photos:
    """Decoded photos on the device, from which patches are cut.

    A patch is one gather from their table, flips and rotation included, so that neither decoding
    nor slicing ever keeps an accelerator waiting. 100 megapixels take 300 MB, of pairs twice that;
    on the CPU a table that is a file stays there.
    """

    def __init__(self, table: Table, patch: int, device: torch.device) -> None:
        """Raises DataError if no photo is at least `patch` pixels high and wide."""
        sizes = torch.tensor(table.shapes, dtype=torch.long).reshape(-1, 2)
        areas = sizes.prod(1)
        starts = torch.cumsum(areas, 0) - areas
        fits = sizes.amin(1) >= patch if len(sizes) else torch.zeros(0, dtype=torch.bool)
        if not fits.any():
            why = f"; {table.skipped[0]}" if table.skipped else ""
            raise DataError(
                f"no photo of at least {patch}x{patch} pixels among "
                f"{len(table.shapes) + len(table.skipped)} files{why}",
                "name a folder of photos with --data, or lower --patch",
            )
        small = (table.names[i] for i in (~fits).nonzero()[:, 0].tolist())
        self.left_out = [
            *table.skipped,
            *(f"{name}: smaller than a patch of {patch} pixels" for name in small),
        ]
        self.count = int(fits.sum())
        self.megapixels = areas[fits].sum().item() / 1e6
        self.patch, self.device = patch, device
        sizes = sizes[fits]
        self._rows, self._columns = (sizes - patch + 1).to(device).unbind(1)
        self._widths = sizes[:, 1].to(device)
        self._starts = starts[fits].to(device)
        self._shares = torch.cumsum((self._rows * self._columns).double(), 0)
        self._shares /= self._shares[-1].clone()
        self._pixels = torch.from_numpy(table.pixels).to(device)

    def patches(self, count: int, gray: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` patches (N, C, P, P) in [0, 1], channels last, and which of them are gray (N,).

        C is 3; of pairs 6, the clean one first. Every position in every photo is equally likely;
        a share `gray` has its channels averaged. The other patches have their channels permuted
        one time in eight, which keeps saturated colours of every hue in the diet.
        """
        device = self.device
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
        patches = self._pixels[index].float().div_(255)
        patches = patches.view(*patches.shape[:3], -1, 3)
        is_gray = draw[6] < gray
        gray_ones = is_gray[:, None, None, None, None]
        patches = torch.where(gray_ones, patches.mean(4, keepdim=True), patches)
        order = torch.rand(count, 3, generator=generator, device=device).argsort(1)
        order = torch.where((draw[7] < 0.125)[:, None], order, torch.arange(3, device=device))
        patches = patches.gather(4, order[:, None, None, None, :].expand_as(patches))
        return patches.flatten(3).permute(0, 3, 1, 2), is_gray


def load_crops(
    sources: Sequence[Source], size: int, limit: int, least: int = 1
) -> tuple[list[Tensor], list[str]]:
    """The middle `size` by `size` pixels of up to `limit` photos or pairs, as uint8 (C, h, w).

    And why others were left out, which cannot be read, or have fewer than `least` pixels a side.
    Raises DataError if nothing is left.
    """
    limit = min(limit, len(sources))
    crops, unfit = [], []
    for i in range(limit):
        source = sources[i * len(sources) // limit]
        try:
            array = read_source(source)
        except PictureError as error:
            unfit.append(error.message)
        else:
            if min(array.shape[:2]) < least:
                unfit.append(f"{files_of(source)[0]}: smaller than {least} pixels")
                continue
            top, left = (max(0, (side - size) // 2) for side in array.shape[:2])
            crop = array[top : top + size, left : left + size].copy()
            crops.append(torch.from_numpy(crop).permute(2, 0, 1))
    if not crops:
        raise DataError(
            f"no photo to measure on is fit for it; {unfit[0]}", "name a folder of others"
        )
    return crops, unfit


def list_photos(place: Path, exclude: Sequence[str] = ()) -> list[Path]:
    """Pictures below a folder, sorted, or those that a text file names, in its order.

    Names in the file that are not absolute count from its folder. Those that match a pattern in
    `exclude` are left out. Raises DataError if none is left, or one in the file is missing.
    """
    found = _listed_in(place) if place.suffix == LIST else find_pictures(place)
    for pattern in exclude:
        if not PurePath(pattern).name:
            raise UsageError(f"--exclude {pattern!r} is no pattern", "give one such as 'scan_*'")
    found = [path for path in found if not any(path.match(pattern) for pattern in exclude)]
    if not found:
        raise DataError(f"{place}: holds no photos", "name a folder of clean photos")
    return found


def _listed_in(file: Path) -> list[Path]:
    try:
        lines = read_text(file).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error})", "check its name") from error
    found = [file.parent / line.strip() for line in lines if line.strip()]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise DataError(f"{file}: names {missing[0]}, which is not there", "correct the list")
    return found
