"""JPEG compression, by a real encoder."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from tunectl.tasks.base import Task


@dataclass(frozen=True)
class DeblockFields:
    """`aligned`: the 8x8 blocks start at the picture's corner, as in a file straight from the
    encoder. Off, the grid has a random phase, as in a cropped photo, which training needs."""

    aligned: bool = False


class Deblock(Task):
    """Levels are IJG qualities, 1 to 100, of Pillow's encoder; colour is stored at 4:2:0."""

    Fields = DeblockFields
    symbol = "quality"
    weakest = 100.0
    strongest = 1.0
    default_levels = (95.0, 10.0)

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

    def expected_error(self, level: float) -> float:
        # The IJG scale of the quantisation tables, in percent.
        scale = 5000 / level if level < 50 else 200 - 2 * level
        return 1.5 + 0.4 * math.sqrt(scale)


def _recode(picture: Tensor, quality: int) -> Tensor:
    """(C, H, W) in [0, 1] through a JPEG file; C of 1 gives a gray file."""
    array = picture.mul(255).round().clamp(0, 255).to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if len(picture) == 1 else array))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=2)
    decoded = np.asarray(Image.open(file), dtype=np.float32)
    return torch.from_numpy(decoded.reshape(*array.shape)).permute(2, 0, 1) / 255
