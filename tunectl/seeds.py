"""Randomness as a function of what it is for."""

from __future__ import annotations

import hashlib

import torch


def seeded(device: torch.device, *keys: object) -> torch.Generator:
    """A generator that depends on `keys` only: of (seed, step), or of a picture and a level."""
    return torch.Generator(device).manual_seed(seed_of(*keys))


def seed_of(*keys: object) -> int:
    """The seed that `seeded` gives its generator."""
    digest = hashlib.sha256(repr(keys).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def on_cpu(generator: torch.Generator) -> torch.Generator:
    """One whose single numbers need not be waited for: itself, or one that follows from it."""
    if generator.device.type == "cpu":
        return generator
    state = generator.get_state()  # CUDA's is a seed and a count, and lies on the host
    torch.rand(1, generator=generator, device=generator.device)  # the next one is another
    return seeded(torch.device("cpu"), state.cpu().numpy().tobytes())
