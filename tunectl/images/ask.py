"""What a caller asks of a file, held against what the file's header says."""

from __future__ import annotations

from dataclasses import dataclass

from tunectl.errors import PictureError

_MAX_SIDE = 1_000_000  # decoders hold some rows, and loop over them, whatever the file really has


@dataclass(frozen=True)
class Ask:
    """What the caller wants of the file that messages call `name`."""

    name: str
    frame: int | None
    max_pixels: int

    def check_size(self, width: int, height: int) -> None:
        """Refuse what the header promises before memory is taken for it."""
        if width < 1 or height < 1:
            raise ValueError(f"{width} x {height} pixels")
        if max(width, height) > _MAX_SIDE:
            raise PictureError(
                f"{self.name}: has {width} x {height} pixels, which no picture has",
                "get an intact copy, or cut it into parts",
            )
        if width * height > self.max_pixels:
            raise PictureError(
                f"{self.name}: has {width} x {height} pixels, more than {self.max_pixels:,}",
                "cut it into parts, or raise --max-pixels if you trust it",
            )

    def choose(self, count: int) -> int:
        """The frame to read of a file with `count` of them."""
        if self.frame is None and count > 1:
            raise PictureError(
                f"{self.name}: has several frames ({count})",
                f"save one alone; apply, but not in place, takes one by --frame 0 to {count - 1}",
            )
        if self.frame is not None and not 0 <= self.frame < count:
            raise PictureError(
                f"{self.name}: has no frame {self.frame}, for it has {count}",
                f"choose one with --frame, 0 to {count - 1}" if count > 1 else "leave out --frame",
            )
        return self.frame or 0
