"""What happens to one window of a picture beside the network: map, chroma, colours, blend, inks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tunectl.errors import UsageError
from tunectl.inference.engine import Engine
from tunectl.inference.tiles import Step

LUMA = (0.299, 0.587, 0.114)  # BT.601, as in JPEG


def compose(
    engine: Engine,
    scale: float,
    chroma: Engine | None,
    blend: float,
    keep_colours: bool,
) -> Step:
    """The step from (N, C, H, W) in [0, 1], and a map of alpha or None, to the same shape.

    Of a network that enlarges, the input counts beside the result as bicubic interpolation has it.

    `scale` multiplies the map. `chroma` gives the colour differences, where it is there, or the
    input does with `keep_colours`. `blend` is the result's share beside the input, 0 to 1.
    Raises UsageError for another, or for both of those.
    """
    if chroma is not None and keep_colours:
        raise UsageError("the colours are kept, whatever their alpha", "leave chroma alpha away")
    if not 0 <= blend <= 1:
        raise UsageError(f"blend {blend:g} lies outside 0 to 1", "1 is the whole effect")

    def colour(x: Tensor, mask: Tensor | None) -> Tensor:
        y = engine(x, None if mask is None else mask * scale)
        if chroma is not None and x.shape[1] == 3:
            y = _with_luma(chroma(x), y)
        if blend < 1 or keep_colours:
            x = _enlarged(x, y.shape[-1] // x.shape[-1])
        if keep_colours and x.shape[1] == 3:
            y = _with_luma(x, y)
        return y if blend == 1 else torch.lerp(x, y.clamp(0, 1), blend)

    def step(x: Tensor, mask: Tensor | None) -> Tensor:
        if x.shape[1] != 4:
            return colour(x, mask)
        # Cyan, magenta and yellow are red, green and blue turned round; black is a gray one.
        inks, black = colour(1 - x[:, :3], mask), colour(1 - x[:, 3:], mask)
        return 1 - torch.cat([inks, black], 1)

    return step


def as_gray(step: Step) -> Step:
    """The step for pictures of three equal channels, which stay equal."""

    def gray(x: Tensor, mask: Tensor | None) -> Tensor:
        return step(x[:, :1], mask).expand(-1, 3, -1, -1)

    return gray


def _enlarged(x: Tensor, scale: int) -> Tensor:
    return x if scale == 1 else interpolate(x, scale_factor=scale, mode="bicubic").clamp(0, 1)


def _with_luma(colour: Tensor, luma: Tensor) -> Tensor:
    """The colour differences of one (N, 3, H, W) with the luma of another."""
    # Adding one amount to all three channels moves luma alone, by that amount.
    weights = torch.tensor(LUMA, device=luma.device)
    return colour + torch.einsum("nchw,c->nhw", luma - colour, weights)[:, None]
