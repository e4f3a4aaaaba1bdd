from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from tunectl.errors import UsageError
from tunectl.fields import build_fields
from tunectl.networks import (
    NETWORKS,
    build_network,
    fixed_statistics,
    macs_per_pixel,
    norms_of,
    receptive_radius,
)

SMALL = {
    "adain-net": {"width": 4},
    "adafm-net": {"width": 4, "blocks": 1},
    "transform-net": {"width": 4, "blocks": 1},
    "unet": {"widths": [4, 6, 8], "encoder": [1, 1, 1], "decoder": [1, 1]},
}


def test_adafm_net_is_the_papers_conv_by_conv():
    network = build_network("adafm-net")
    assert sum(p.numel() for p in network.parameters()) == 1_406_787
    assert macs_per_pixel(network) == 380_016
    convs = list(network.convolutions().values())
    assert len(convs) == 37
    shapes = [tuple(conv.weight.shape) for conv in convs]
    assert shapes[0] == (64, 3, 3, 3)
    assert convs[0].stride == (2, 2)
    assert shapes[1:34] == [(64, 64, 3, 3)] * 33
    assert shapes[34:] == [(256, 64, 3, 3), (64, 64, 3, 3), (3, 64, 3, 3)]


def test_adafm_net_computes_what_the_paper_draws():
    """Against the same layers written out by hand."""
    network = build_network("adafm-net", {"width": 4, "blocks": 2})
    x = torch.rand(1, 3, 8, 10)
    start = y = network.first(x)
    for block in network.blocks:
        y = y + block.conv_b(torch.relu(block.conv_a(y)))
    y = torch.relu(nn.PixelShuffle(2)(network.up(network.trunk(y) + start)))
    expected = network.last(torch.relu(network.fine(y)))
    torch.testing.assert_close(network(x), expected)


def test_transform_net_is_the_published_one():
    network = build_network("transform-net")
    convs = network.convolutions()
    assert sum(p.numel() for p in network.parameters()) == 1_679_235
    assert sum(p.numel() for conv in convs.values() for p in conv.parameters()) == 1_676_035
    assert len(convs) == 16
    assert macs_per_pixel(network) == 153_792


def test_transform_net_computes_what_is_published():
    """Against the same layers by torch's own instance norm."""
    network = build_network("transform-net", {"width": 4, "blocks": 2, "residual": True})
    for norm in norms_of([network]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)

    def normed(norm, y):
        return nn.functional.instance_norm(y, weight=norm.weight, bias=norm.bias)

    y = x = torch.rand(2, 3, 16, 24)
    for layer in network.down:
        y = torch.relu(normed(layer.norm, layer.conv(y)))
    for block in network.blocks:
        z = torch.relu(normed(block.norm_a, block.conv_a(y)))
        y = y + normed(block.norm_b, block.conv_b(z))
    for layer in network.up:
        doubled = nn.functional.interpolate(y, scale_factor=2)
        y = torch.relu(normed(layer.norm, layer.conv(doubled)))
    torch.testing.assert_close(network(x), x + 0.25 * network.last(y), atol=1e-5, rtol=1e-4)


def test_fixed_statistics_are_those_of_the_run_and_no_longer():
    network = build_network("transform-net", {"width": 4, "blocks": 1})
    whole, part = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 16, 16)
    own, of_whole = network(part), network(whole)
    with torch.no_grad(), fixed_statistics(norms_of([network]), lambda: network(whole)):
        torch.testing.assert_close(network(whole), of_whole, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(network(part), own, atol=1e-3)
    assert torch.equal(network(part), own)


def test_flagship_stays_within_its_arithmetic():
    assert macs_per_pixel(build_network("unet")) <= 250_000


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (17, 9), (33, 40)])
def test_any_size_comes_back_as_it_was(name, size):
    network = build_network(name, SMALL[name])
    assert network(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_batch_norm_and_named_identity_sites(name):
    network = build_network(name, SMALL[name])
    assert not any("BatchNorm" in type(module).__name__ for module in network.modules())
    for site, facts in network.sites.items():
        assert isinstance(network.get_submodule(site), nn.Identity)
        if facts.after is not None:
            layer = network.get_submodule(facts.after)
            assert len(layer.weight) == facts.channels


@pytest.mark.parametrize("name", NETWORKS)
def test_receptive_radius_is_where_the_output_stops_moving(name):
    """By gradient on a random network in double precision, away from the impulse method."""
    torch.manual_seed(0)
    network = build_network(name, SMALL[name]).double()
    radius = receptive_radius(network)
    for parameter in network.parameters():  # positive, so that nothing cancels
        parameter.data.abs_()
    for norm in norms_of([network]):
        norm.statistics = torch.zeros(1), torch.ones(1)
    side = 2 * (-(-(radius + network.stride) // network.stride)) * network.stride
    x = torch.rand(1, 3, network.stride, 2 * side, dtype=torch.double, requires_grad=True)
    y = network(x)
    reach = 0
    for column in range(side, side + network.stride):
        (gradient,) = torch.autograd.grad(y[0, :, :, column].sum(), x, retain_graph=True)
        touched = gradient.abs().sum((0, 1, 2)).nonzero()[:, 0]
        reach = max(reach, int((touched - column).abs().max()))
    assert reach == radius


def test_adafm_net_radius_is_the_papers():
    # 143 x 143 pixels see each other; the farther side of an even stride has one more
    assert receptive_radius(build_network("adafm-net", {"width": 2})) in (71, 72)


def test_unknown_names_and_fields_say_what_is_known():
    with pytest.raises(UsageError) as wrong:
        build_network("resnet")
    assert "adafm-net" in wrong.value.hint
    with pytest.raises(UsageError, match="has no field 'wide'"):
        build_network("unet", {"wide": 3})
    with pytest.raises(UsageError, match="at least two widths"):
        build_network("unet", {"widths": "8", "encoder": "1", "decoder": []})
    with pytest.raises(UsageError, match="whole number"):
        build_network("adafm-net", {"width": 0})


def test_fields_that_no_file_could_hold_are_refused_at_once():
    @dataclass(frozen=True)
    class Odd:
        extra: int = 0

    with pytest.raises(UsageError, match="network odd: 0 is not a whole number from 1"):
        build_fields(Odd, {}, "network odd")
    assert build_fields(Odd, {"extra": 3}, "network odd").extra == 3
