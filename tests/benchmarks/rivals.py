"""PSNR of bundled models beside FFDNet and DnCNN, in one run and by one harness.

    python tests/benchmarks/rivals.py IMAGES --rivals FOLDER --level 15,25,35,50,75 [--gray]

FOLDER holds the rivals' `models.py` and weights (not part of tunectl). The noise is not clipped,
its seed is fixed per picture and level, outputs are rounded to 8 bits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rival_models import load_rival

from tunectl.inference.load import load
from tunectl.learning.evaluation import (
    evaluate_callable,
    evaluate_model,
    load_pictures,
    markdown,
)
from tunectl.tasks import build_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--rivals", type=Path, required=True)
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--level", default="15,25,35,50,75")
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    levels = [float(level) for level in given.level.split(",")]
    pictures = load_pictures(given.images, given.gray, given.limit)

    name = "ffdnet_gray" if given.gray else "ffdnet_color"
    network = load_rival(given.rivals, name)

    def restore(noisy: torch.Tensor, level: float) -> torch.Tensor:
        with torch.inference_mode():
            return network(noisy, level / 255)

    rows = [evaluate_callable(name, restore, build_task("denoise"), pictures, levels)]
    model = load(given.model, precision=given.precision)
    rows.append(evaluate_model(Path(given.model).stem, model, pictures, levels))
    print(markdown(rows, f"{given.images.name}{' gray' if given.gray else ''}", len(pictures)))
    gaps = (f"{rows[1].means[level] - rows[0].means[level]:+.2f}" for level in rows[0].means)
    print(f"| difference | | {' | '.join(gaps)} |")


if __name__ == "__main__":
    main()
