"""Pictures of any size through a plain network, in tiles that do not show."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from tunectl.errors import ResourceError, UsageError
from tunectl.networks import Network, receptive_radius

DEFAULT_TILE = 1024
# Convolution libraries change their way of summing for feature maps below some tens of thousands
# of samples. Windows stay above that, so that a rounding tie falls the same way in every tile.
SMALLEST_TILE = 256
SMALLEST_TILED_SIDE = 128


class Engine:
    """A plain network ready to run: on its device, in its precision, with its halo measured."""

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: torch.dtype,
        tile: int = DEFAULT_TILE,
    ) -> None:
        """`tile` is the side, in pixels, of the largest window that runs at once."""
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device, self.precision, self.tile = device, precision, tile
        self._halo: int | None = None

    def __call__(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to the same shape on the CPU, not clamped; C is 1 or 3.

        Gray goes through a colour network as three equal planes and comes back as their mean.
        A window is cut where the picture ends, so that the network sees the same border as
        untiled, and elsewhere reaches past its core by at least the receptive radius. In 8 bits
        the result does not depend on the tile, for networks whose widths are multiples of 16.
        """
        if pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
            raise UsageError(
                f"a picture of shape {tuple(pictures.shape)} cannot be restored",
                "give (N, 3, H, W), or (N, 1, H, W) for gray",
            )
        height, width = pictures.shape[-2:]
        stride = self.network.stride
        padded = [max(-(-size // stride), 2) * stride for size in (height, width)]
        x = pad(pictures.cpu(), (0, padded[1] - width, 0, padded[0] - height), mode="replicate")
        y = torch.empty_like(x)
        tile = self.tile if min(padded) >= SMALLEST_TILED_SIDE else max(padded)
        for i in range(len(x)):
            picture, result = x[i : i + 1], y[i : i + 1]
            for rows in self._windows(padded[0], tile):
                for columns in self._windows(padded[1], tile):
                    self._run(picture, result, rows, columns)
        return y[..., :height, :width]

    @property
    def halo(self) -> int:
        """The receptive radius, rounded up to the stride."""
        if self._halo is None:
            stride = self.network.stride
            self._halo = -(-receptive_radius(self.network) // stride) * stride
        return self._halo

    def _windows(self, size: int, tile: int) -> Iterator[tuple[int, int, int, int]]:
        """(start, end) of each window along one side, and of the core that it decides."""
        stride = self.network.stride
        tile = max(tile, SMALLEST_TILE)
        if size > tile:
            tile = max(tile // stride, 2 * self.halo // stride + 1) * stride
        if size <= tile:
            yield 0, size, 0, size
            return
        core = 0
        while core < size:
            start = min(max(0, core - self.halo), size - tile)
            end = start + tile
            core_end = size if end == size else end - self.halo
            yield start, end, core, core_end
            core = core_end

    def _run(
        self,
        picture: Tensor,
        result: Tensor,
        rows: tuple[int, int, int, int],
        columns: tuple[int, int, int, int],
    ) -> None:
        window = picture[..., rows[0] : rows[1], columns[0] : columns[1]]
        channels = window.shape[1]
        x = (
            window.expand(-1, 3, -1, -1)
            .to(self.device)
            .contiguous(memory_format=torch.channels_last)
        )
        try:
            with (
                torch.inference_mode(),
                torch.autocast(self.device.type, torch.bfloat16, self.precision == torch.bfloat16),
            ):
                y = self.network(x).float()
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"{self.device}: out of memory", f"try --tile {max(128, self.tile // 2)}"
            ) from error
        if channels == 1:
            y = y.mean(1, keepdim=True)
        inside = (
            ...,
            slice(rows[2] - rows[0], rows[3] - rows[0]),
            slice(columns[2] - columns[0], columns[3] - columns[0]),
        )
        result[..., rows[2] : rows[3], columns[2] : columns[3]] = y[inside].cpu()
