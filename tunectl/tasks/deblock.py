"""JPEG compression, by a real encoder."""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from tunectl.knob import SYMBOLS
from tunectl.tasks.base import Tables, Task

LUMA_BASE = np.array(  # Annex K of the JPEG standard
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ]
)


@dataclass(frozen=True)
class DeblockFields:
    """`aligned`: the 8x8 blocks start at the picture's corner, as in a file straight from the
    encoder. Off, the grid has a random phase, as in a cropped photo, which training needs."""

    aligned: bool = False


class Deblock(Task):
    """Levels are IJG qualities, 1 to 100, of Pillow's encoder; colour is stored at 4:2:0."""

    Fields = DeblockFields
    symbol = SYMBOLS["deblock"]
    weakest = 100.0
    strongest = 1.0
    fields: DeblockFields

    @property
    def protocol(self) -> str:
        phase = "from the corner" if self.fields.aligned else "at any phase"
        return (
            f"JPEG of quality as columns by Pillow {PIL.__version__}, colour at 4:2:0, "
            f"blocks {phase}"
        )

    def degrade(
        self, clean: Tensor, level: float, generator: torch.Generator, gray: Tensor | None = None
    ) -> Tensor:
        pictures = []
        height, width = clean.shape[-2:]
        for i, picture in enumerate(clean):
            top = left = 0
            if not self.fields.aligned:
                top, left = torch.randint(
                    8, (2,), generator=generator, device=generator.device
                ).tolist()
            shifted = pad(picture[None], (left, 0, top, 0), mode="replicate")[0]
            if gray is not None and bool(gray[i]):
                coded = _recode(shifted[:1], round(level)).expand(3, -1, -1)
            else:
                coded = _recode(shifted, round(level))
            pictures.append(coded[:, top : top + height, left : left + width])
        return torch.stack(pictures).to(clean.device)

    def estimate(
        self,
        pixels: NDArray[Any],
        tables: Tables | None = None,
        seen: NDArray[np.bool_] | None = None,
    ) -> float | None:
        """The quality whose luma table is nearest to the file's; None without tables."""
        if not tables or 0 not in tables:
            return None
        found = np.asarray(tables[0])
        return float(min(range(1, 101), key=lambda q: np.abs(_luma_table(q) - found).sum()))

    def expected_error(self, level: float) -> float:
        return 1.5 + 0.4 * math.sqrt(_scale(level))


def _scale(quality: float) -> float:
    """The IJG scale of the quantisation tables, in percent."""
    return 5000 / quality if quality < 50 else 200 - 2 * quality


@functools.cache
def _luma_table(quality: int) -> NDArray[np.int64]:
    """The IJG encoder's luma quantisation table, 64 numbers in natural order."""
    table: NDArray[np.int64] = np.clip((LUMA_BASE * int(_scale(quality)) + 50) // 100, 1, 255)
    return table


def _recode(picture: Tensor, quality: int) -> Tensor:
    """(C, H, W) in [0, 1] through a JPEG file; C of 1 gives a gray file."""
    array = picture.mul(255).round().clamp(0, 255).to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if len(picture) == 1 else array))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=2)
    decoded = np.asarray(Image.open(file), dtype=np.float32)
    return torch.from_numpy(decoded.reshape(*array.shape)).permute(2, 0, 1) / 255
