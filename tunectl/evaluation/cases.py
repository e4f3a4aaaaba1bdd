"""What models are measured on: pictures degraded here, or pairs that came that way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from tunectl.errors import DataError, UsageError
from tunectl.evaluation.metrics import PEAK, luma
from tunectl.images import Component, Picture, find_pictures, read_pair, read_picture, rgb8
from tunectl.seeds import seed_of
from tunectl.tasks import Task
from tunectl.tasks.base import Tables

ToGray = Callable[[Tensor], Tensor]  # uint8 (3, H, W) to (1, H, W)
KEPT = 1 << 30  # bytes of pictures that are held; more are read again at each level
Item = TypeVar("Item")
Found = TypeVar("Found", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Case:
    """One picture to bring back, (1, C, H, W) in [0, 1].

    `level` is what a model may be told of it, where it is known; `seed` made its noise; `tables`
    and `components` are those of the JPEG that it was read from, as `Picture` has them.
    """

    name: str
    clean: Tensor
    noisy: Tensor
    level: float | None
    seed: int | None = None
    over_luma: bool = False
    tables: Tables | None = None
    components: Sequence[Component] = ()

    def measured(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What metrics compare: the output and the clean picture, or the luma of both."""
        if self.over_luma and self.clean.shape[1] == 3:
            return luma(output), luma(self.clean)
        return output.cpu(), self.clean


def degraded(clean: Tensor, task: Task, level: float, index: int) -> tuple[Tensor, Tensor]:
    """The clean picture as (1, C, H, W) in [0, 1], and its degraded version.

    `clean` is uint8 (C, H, W), what the task makes both from. The noise depends on the picture's
    `index` and the level only.
    """
    sample = clean[None].float() / PEAK
    generator = torch.Generator().manual_seed(_seed(index, level))
    return task.target(sample), task.degrade(sample, level, generator)


def load_pictures(
    folder: Path, to_gray: ToGray | None = None, limit: int | None = None
) -> list[Tensor]:
    """All pictures of a folder, sorted by name, as uint8 (3, H, W), or in gray."""
    return [_load(path, to_gray) for path in _listed(folder)[:limit]]


class Cases:
    """Pictures under a title, and the columns of a table: the levels at which they are measured.

    `over_luma` has them measured on Y instead of RGB.
    """

    over_luma = False

    def __init__(self, title: str, protocol: str, levels: Sequence[float | None]) -> None:
        """`protocol` says how the inputs were made. None is a level that nobody was told."""
        self.title, self.protocol, self.levels = title, protocol, list(levels)

    def __len__(self) -> int:
        raise NotImplementedError

    def at(self, level: float | None) -> Iterator[Case]:
        """Each picture at one of the levels; the same again each time."""
        raise NotImplementedError


class Degraded(Cases):
    """Clean pictures, degraded by a task with fixed seeds."""

    def __init__(
        self,
        folder: Path,
        task: Task,
        levels: Sequence[float],
        to_gray: ToGray | None = None,
        limit: int | None = None,
        kept: int = KEPT,
    ) -> None:
        super().__init__(folder.name, task.protocol, [task.check_level(level) for level in levels])
        self.folder, self.task = folder, task
        self.paths = _listed(folder)[:limit]
        self._read = _reader(self.paths, lambda path: (_load(path, to_gray),), kept)

    def __len__(self) -> int:
        return len(self.paths)

    def at(self, level: float | None) -> Iterator[Case]:
        assert level is not None
        for index, path in enumerate(self.paths):
            (picture,) = self._read(index)
            clean, noisy = degraded(picture, self.task, level, index)
            name = path.relative_to(self.folder).as_posix()
            yield Case(name, clean, noisy, level, _seed(index, level), self.over_luma)


_Pair: TypeAlias = tuple[Tensor, Tensor, Tables | None, Sequence[Component]]


class Pairs(Cases):
    """Clean pictures beside degraded ones of the same size; `levels` are what models are told."""

    def __init__(
        self,
        clean: Path,
        noisy: Path,
        endings: tuple[str, str] = ("", ""),
        levels: Sequence[float] = (),
        to_gray: ToGray | None = None,
        limit: int | None = None,
        kept: int = KEPT,
    ) -> None:
        """See `pair_up` for which pictures are. Raises PictureError for two of different sizes."""
        super().__init__(clean.name, "pairs as they are", list(levels) or [None])
        found = pair_up(_listed(clean), clean, noisy, endings)[:limit]
        self.names = [path.relative_to(clean).as_posix() for path, _ in found]

        def read(pair: tuple[Path, Path]) -> _Pair:
            better, worse = read_pair(*pair)
            one, other = (
                _pixels(picture, path, to_gray)
                for picture, path in zip((better, worse), pair, strict=True)
            )
            # Of a file in colour that became gray the channels are something else, and a gray one
            # whose channel was repeated is not as `apply` sees it.
            same = len(worse.components) == len(other)
            return one, other, worse.tables, worse.components if same else ()

        self._read = _reader(found, read, kept)

    def __len__(self) -> int:
        return len(self.names)

    def at(self, level: float | None) -> Iterator[Case]:
        for index, name in enumerate(self.names):
            clean, noisy, tables, components = self._read(index)
            yield Case(
                name,
                clean[None] / PEAK,
                noisy[None] / PEAK,
                level,
                over_luma=self.over_luma,
                tables=tables,
                components=components,
            )


def parse_pairs(text: str) -> tuple[str, str]:
    """`_mean:_real`. Raises UsageError."""
    parts = text.split(":")
    if len(parts) != 2 or parts[0] == parts[1]:
        raise UsageError(
            f"--pairs {text!r} does not say how names end",
            "give the endings of the clean and the noisy ones, such as _mean:_real",
        )
    return parts[0], parts[1]


def pair_up(
    clean: Sequence[Path], root: Path, noisy: Path, endings: tuple[str, str] = ("", "")
) -> list[tuple[Path, Path]]:
    """Clean pictures below `root` and their other halves below the folder `noisy`.

    Two are a pair if they are called alike but for `endings` of their stems; clean ones with
    another ending are left out. Raises DataError for one without its other half.
    """
    others: dict[str | None, Path] = {}
    for path in _listed(noisy):
        found = _without(path, noisy, endings[1])
        if found is not None and found in others:
            raise DataError(
                f"{path} and {others[found]} could both be the other half of one picture",
                "keep one of them, or say how the names end with --pairs CLEAN:NOISY",
            )
        others[found] = path
    names, pairs = {_without(path, root, endings[0]) for path in clean}, []
    for path in clean:
        name = _without(path, root, endings[0])
        if name is None:
            continue
        other = others.get(name)
        if other is None and path.is_dir():
            raise DataError(f"{path}: cannot be looked into", "check that you may read it")
        if other is None and _is_other_half(path, noisy, endings[1], names):
            continue  # both halves lie in one folder
        if other is None or other == path:
            raise DataError(
                f"{path}: has no other half in {noisy}",
                "call the two alike, or say how their names end with --pairs CLEAN:NOISY",
            )
        pairs.append((path, other))
    if not pairs:
        raise DataError(f"{root}: no name ends with {endings[0]!r}", "correct --pairs CLEAN:NOISY")
    return pairs


def _without(path: Path, folder: Path, ending: str) -> str | None:
    """The path below the folder without its suffix and `ending`; None if it ends otherwise."""
    name = path.relative_to(folder).with_suffix("").as_posix()
    return name.removesuffix(ending) if name.endswith(ending) else None


def _is_other_half(path: Path, noisy: Path, ending: str, names: Collection[str | None]) -> bool:
    own = _without(path, noisy, ending) if ending and path.is_relative_to(noisy) else None
    return own is not None and own in names


def _seed(index: int, level: float) -> int:
    return seed_of("measure", index, float(level))


def _listed(folder: Path) -> list[Path]:
    found = find_pictures(folder)
    if not found:
        raise DataError(f"{folder}: holds no photos", "name a folder of clean photos")
    return found


def _reader(
    items: Sequence[Item], read: Callable[[Item], Found], kept: int
) -> Callable[[int], Found]:
    """What is read of the items, by number: each once now, so that what is wrong with one is told
    before anything is measured, and again where they do not fit into `kept` bytes."""
    held, size = {}, 0
    for index, item in enumerate(items):
        found = read(item)
        more = sum(part.nbytes for part in found if isinstance(part, Tensor))
        if size + more <= kept:
            held[index], size = found, size + more
    return lambda index: held[index] if index in held else read(items[index])


def _load(path: Path, to_gray: ToGray | None) -> Tensor:
    return _pixels(read_picture(path), path, to_gray)


def _pixels(picture: Picture, path: Path, to_gray: ToGray | None) -> Tensor:
    pixels = torch.from_numpy(rgb8(picture, path).copy()).permute(2, 0, 1)
    return to_gray(pixels) if to_gray else pixels
