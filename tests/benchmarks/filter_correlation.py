"""DNI's filter correlation: why networks of one descent can be interpolated (its section 3.2).

    python tests/benchmarks/filter_correlation.py BASE TUNED... --dni MODEL [--plot curve.svg]

BASE is a plain model of one level, each TUNED the same finetuned wholly for another level, MODEL
the base with tuner `dni` for the last of these levels. For each layer and level: the correlation of
the base's filters with those learned for the level, and with those interpolated to it, at the
schedule's alpha; the mean over a layer's filters of the absolute Pearson correlation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from tunectl.evaluation.chart import Curve, draw_chart
from tunectl.header import read_header
from tunectl.inference.load import load
from tunectl.networks import Network


def correlation(one: Tensor, other: Tensor) -> float:
    """Of filters (O, I, k, k) with those of the same index, the mean over O."""
    a, b = (w.flatten(1) - w.flatten(1).mean(1, keepdim=True) for w in (one, other))
    return float(nn.functional.cosine_similarity(a, b).abs().mean())


def filters(network: Network) -> dict[str, Tensor]:
    """The weights of each convolution, by name."""
    convs = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    return {name: conv.weight.detach() for name, conv in convs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base")
    parser.add_argument("tuned", nargs="+")
    parser.add_argument("--dni", required=True)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    base = filters(load(given.base, device="cpu").fold())
    dni = load(given.dni, device="cpu")
    knob = dni.header.knob
    assert knob is not None
    levels = [read_header(Path(path)).level[0] for path in given.tuned]
    learned = [filters(load(path, device="cpu").fold()) for path in given.tuned]
    between = [filters(dni.fold(knob.scheduled_alpha(level))) for level in levels]
    heads = [f"{level:g} {kind}" for level in levels for kind in ("learned", "interpolated")]
    print(f"| layer | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|")
    columns = [network for pair in zip(learned, between, strict=True) for network in pair]
    rows = {name: [correlation(base[name], of[name]) for of in columns] for name in base}
    rows["mean"] = torch.tensor(list(rows.values())).mean(0).tolist()
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |")
    if given.plot is not None:
        curves = []
        for name in (next(iter(base)), list(base)[-1], "mean"):
            for offset, kind in enumerate(("learned", "interpolated")):
                points = zip(levels, rows[name][offset::2], strict=True)
                curves.append(Curve(f"{name}, {kind}", [(knob.levels[0], 1.0), *points]))
        draw_chart(given.plot, "Correlation with the base's filters", "sigma", "", curves)


if __name__ == "__main__":
    main()
