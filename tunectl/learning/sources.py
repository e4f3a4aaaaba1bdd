"""What a run learns from, and what it is validated on."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from tunectl.errors import DataError, UsageError
from tunectl.evaluation.cases import pair_up
from tunectl.learning.config import RunConfig
from tunectl.learning.options import Options
from tunectl.learning.photos import CROP_SIZE, CROPS, Photos, list_photos, load_crops
from tunectl.learning.table import Source, decode, files_of
from tunectl.tasks import Task

HELD_OUT = 16  # every 16th photo, where no folder for validation is named


def split(config: RunConfig) -> tuple[list[Source], list[Source]]:
    """What to train on, and what to validate on."""
    names = list_photos(config.data, config.exclude)
    sources: list[Source] = list(names)
    if config.noisy is not None:
        sources = list(pair_up(names, config.data, config.noisy, config.pairs))
    held_out = sources[::HELD_OUT]
    if config.validation is not None and config.noisy is not None:
        listed = list_photos(config.validation)
        held_out = list(pair_up(listed, config.validation, config.noisy, config.pairs))
        _refuse_shared_halves(sources, held_out)
    elif config.validation is not None:
        held_out = list(list_photos(config.validation))
    kept = set(map(_real, held_out))
    left = [one for one in sources if _real(one) not in kept]
    if not left and config.validation is not None:
        raise UsageError(
            f"{config.validation}: holds every photo of --data", "leave some of them to learn from"
        )
    return left or sources, held_out


def split_words(config: RunConfig) -> str:
    """How `split` chooses the latter."""
    if config.validation is not None:
        return f"of {config.validation.name}"
    return f"every {HELD_OUT}th"


def read(
    config: RunConfig,
    options: Options,
    task: Task,
    sources: Sequence[Source],
    held_out: Sequence[Source],
    device: torch.device,
) -> tuple[Photos, list[torch.Tensor]]:
    """What patches are cut from, and crops to validate on, uint8 (C, H, W); what is no good for
    either is told."""
    photos = Photos(decode(sources, config.cache), options.patch, device)
    for line in photos.left_out:
        config.say(f"left out: {line}")
    crops, unfit = load_crops(held_out, CROP_SIZE, CROPS, task.least)
    for line in unfit:
        config.say(f"left out of validation: {line}")
    if options.gray == 1:  # colour is never seen
        crops = [_in_gray(crop, planes=1 if task.restores else 3) for crop in crops]
    return photos, crops


def _refuse_shared_halves(sources: Sequence[Source], held_out: Sequence[Source]) -> None:
    """Photos to train and to validate on may be called alike, but both look for their halves in
    one folder. Raises DataError."""
    owners = {noisy: clean for clean, noisy in map(_real, sources)}
    learned = {clean for clean, _ in map(_real, sources)}
    for clean, noisy in map(_real, held_out):
        if clean not in learned and noisy in owners:
            raise DataError(
                f"{noisy}: would be the other half of {owners[noisy]} and of {clean}",
                "give the photos of --validation other names than those of --data",
            )


def _real(source: Source) -> tuple[str, ...]:
    """By which a source is told from others, whatever way its files are named."""
    return tuple(os.path.realpath(path) for path in files_of(source))


def _in_gray(crop: torch.Tensor, planes: int) -> torch.Tensor:
    """uint8 (C, H, W) of a photo, or of a pair of them, each in so many equal `planes`.

    One tells a task that the picture is gray: noise on three would be coloured.
    """
    height, width = crop.shape[1:]
    gray = crop.view(-1, 3, height, width).float().mean(1, keepdim=True).round().to(crop.dtype)
    return gray.expand(-1, planes, -1, -1).reshape(-1, height, width)
