"""Learning to read a picture's level, for tasks whose levels nothing simpler tells."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import mse_loss

from tunectl.learning.photos import Photos
from tunectl.seeds import seeded
from tunectl.tasks import Task
from tunectl.tasks.level_net import LevelNet

STEPS, BATCH, RATE = 2000, 8, 2e-3
CLEAN = 0.1  # of the pictures are at level 0


def learn_level(
    photos: Photos, task: Task, levels: tuple[float, float], gray: float, seed: int, steps: int
) -> LevelNet:
    """A LevelNet that reads levels 0 to the largest of `levels`, trained on patches of `photos`.

    Roots of levels are drawn evenly, in which it answers, so that weak ones are seen most. A share
    `gray` of the patches is gray. Every random number is a function of (seed, step).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = LevelNet()
    net.to(photos.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0, fused=True)
    largest = math.sqrt(max(levels))
    for step in range(steps):
        generator = seeded(photos.device, "level", seed, step)
        clean, is_gray = photos.patches(BATCH, gray, generator)
        clean = task.vary(clean, generator)
        draw = torch.rand(BATCH, generator=generator, device=photos.device)
        roots = ((draw - CLEAN) / (1 - CLEAN)).clamp_min(0) * largest
        degraded = [
            task.degrade(clean[i : i + 1], root**2, generator, is_gray[i : i + 1])
            for i, root in enumerate(roots.tolist())
        ]
        loss = mse_loss(net(torch.cat(degraded).expand(-1, 3, -1, -1)), roots)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.step()
        optimizer.zero_grad()
    return net
