"""A unet with more residual blocks that does what a model does already: what training goes on from.

python weights/recipes/deeper.py MODEL OUT --encoder 3,3,2 --decoder 3,3

The new blocks come after those of their level. Their second convolution is zero, so that they hand
on what they are given until they have learned something.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from tunectl import checkpoint
from tunectl.fields import fields_to_json
from tunectl.header import Part
from tunectl.inference.find import find_model
from tunectl.networks import build_network
from tunectl.tuners import build_tuner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--decoder", required=True)
    given = parser.parse_args()
    header, tensors = checkpoint.read(find_model(given.model))
    if header.tuner is None or header.tuner.name != "dni" or header.knob is None:
        raise SystemExit(f"{given.model}: has no knob by dni")
    torch.manual_seed(0)
    fields = header.network.fields | {"encoder": given.encoder, "decoder": given.decoder}
    network = build_network(header.network.name, fields)
    tuner = build_tuner("dni", network, {}, header.knob.knots)
    for name, weights in network.own_state().items():
        if f"network.{name}" not in tensors and ".conv_b." in name:
            weights.zero_()
    whole = checkpoint.named(network.own_state(), tuner.state_dict())
    lost = set(tensors) - set(whole)
    if lost:
        raise SystemExit(f"{given.model}: has {len(lost)} tensors that the new network has not")
    part = Part(header.network.name, fields_to_json(network.fields))
    checkpoint.write(given.out, replace(header, network=part, dtype="fp32"), whole | tensors)


if __name__ == "__main__":
    main()
