"""Parameter counts and outputs against the papers, by independent implementations."""

from __future__ import annotations

import pytest
import torch

from tunectl.errors import AlphaError, UsageError
from tunectl.knob import check_alpha
from tunectl.networks import build_network
from tunectl.tuners import Tunable, build_tuner, ftn


def count(tuner: str, **fields: int) -> int:
    network = build_network("adafm-net")
    return sum(
        p.numel()
        for owner in (network, build_tuner(tuner, network, fields))
        for p in owner.parameters()
    )


@pytest.mark.parametrize(
    ("groups", "total"), [(1, 1_829_632), (4, 1_516_288), (16, 1_437_952), (64, 1_418_368)]
)
def test_ftn_parameters(groups, total):
    assert count("ftn", groups=groups) == total


@pytest.mark.parametrize(
    ("kernel", "total"), [(1, 1_411_011), (3, 1_427_907), (5, 1_461_699), (7, 1_512_387)]
)
def test_adafm_parameters(kernel, total):
    assert count("adafm", kernel=kernel) == total


def test_dni_doubles_the_network():
    assert count("dni") == 2 * 1_406_787


def test_dynamic_net_blocks_are_three_convolutions_at_three_sites():
    # 64 channels at each site of adafm-net; the paper's 128-channel block has 442,752
    assert count("dynamic-net") - 1_406_787 == 3 * 3 * (64 * 64 * 9 + 64)


def tunable(tuner: str, **fields: int) -> Tunable:
    torch.manual_seed(0)
    network = build_network("adafm-net", {"width": 4, "blocks": 1})
    model = Tunable(network, build_tuner(tuner, network, fields)).requires_grad_(False)
    for parameter in model.tuner.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def mix(values, conv, size):
    """A 1x1 convolution in groups of `size` channels, one number at a time."""
    mixed = []
    for o in range(len(values)):
        first = o // size * size
        terms = (conv.weight[o, c, 0, 0] * values[first + c] for c in range(size))
        mixed.append(sum(terms) + conv.bias[o])
    return mixed


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_ftn_against_explicit_loops(groups):
    model = tunable("ftn", groups=groups)
    alpha = 0.3
    weights = model.tuner.weights(model.network, alpha)
    for name, conv in model.network.convolutions().items():
        transition = model.tuner.transitions[0][name.replace(".", "/")]
        kernel = conv.weight
        filters, inputs, height, width = kernel.shape
        parts = groups if filters % groups == 0 else 1
        size = filters // parts

        expected = torch.empty_like(kernel)
        for i in range(inputs):
            for row in range(height):
                for column in range(width):
                    values = mix(list(kernel[:, i, row, column]), transition.mix_a, size)
                    slope = transition.slope.weight[0]
                    values = [v if v >= 0 else slope * v for v in values]
                    values = mix(values, transition.mix_b, size)
                    expected[:, i, row, column] = torch.stack(values)
        expected = (1 - alpha) * kernel + alpha * expected
        torch.testing.assert_close(weights[f"{name}.weight"], expected, atol=1e-6, rtol=1e-5)
    assert not any(name.endswith("bias") for name in weights)


@pytest.mark.parametrize("groups", [1, 4])
def test_ftns_gradients_are_those_of_torchs_prelu(groups, monkeypatch):
    model = tunable("ftn", groups=groups).requires_grad_(True)
    x = torch.rand(1, 3, 12, 12)

    def gradients():
        loss = (model(x, 0.7) - x).square().sum()
        return torch.autograd.grad(loss, list(model.parameters()))

    ours = gradients()
    monkeypatch.setattr(ftn, "_prelu", torch.nn.functional.prelu)
    for gradient, expected in zip(ours, gradients(), strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_adafm_against_forward_hooks(kernel):
    """The published form, y + alpha * DW(y), hooked onto the plain network's convolutions."""
    model = tunable("adafm", kernel=kernel)
    alpha = 0.6
    plain = build_network("adafm-net", {"width": 4, "blocks": 1})
    plain.load_state_dict(model.network.own_state())
    for name, site in plain.sites.items():
        if site.after is None:
            continue
        depthwise = model.tuner.filters[0][name.replace(".", "/")]
        plain.get_submodule(site.after).register_forward_hook(
            lambda _module, _inputs, y, depthwise=depthwise: y + alpha * depthwise(y)
        )
    x = torch.rand(1, 3, 20, 14)
    torch.testing.assert_close(model(x, alpha), plain(x), atol=1e-6, rtol=1e-5)


def test_dynamic_net_scales_its_blocks_by_alpha():
    model = tunable("dynamic-net")
    alpha = 0.4
    plain = build_network("adafm-net", {"width": 4, "blocks": 1})
    plain.load_state_dict(model.network.own_state())
    for name in ("latent_0", "latent_1", "latent_2"):
        (block,) = model.tuner.branches[name].blocks
        plain.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, z, block=block: z + alpha * block(z)
        )
    x = torch.rand(1, 3, 20, 14)
    torch.testing.assert_close(model(x, alpha), plain(x), atol=1e-6, rtol=1e-5)


def test_dni_is_the_straight_line_between_two_networks():
    model = tunable("dni")
    start, end = model.fold(0.0).state_dict(), model.fold(1.0).state_dict()
    for name, tensor in model.fold(0.25).state_dict().items():
        torch.testing.assert_close(tensor, 0.75 * start[name] + 0.25 * end[name])


def test_no_gradient_at_alpha_0_and_some_for_every_tensor_at_1():
    network = build_network("adafm-net", {"width": 4, "blocks": 1}).requires_grad_(False)
    model = Tunable(network, build_tuner("ftn", network))
    x = torch.rand(1, 3, 12, 12)
    assert not model(x, 0.0).requires_grad
    model(x, 1.0).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.tuner.parameters())


def test_alpha_outside_its_range_needs_extrapolate():
    for alpha in (-0.1, 1.01, float("nan")):
        with pytest.raises(AlphaError):
            check_alpha(alpha)
    assert check_alpha(1.5, extrapolate=True) == 1.5
    model = tunable("dni")
    start = model.fold(0.0).first.weight
    step = model.fold(1.0).first.weight - start
    torch.testing.assert_close(
        model.fold(1.5).first.weight, model.fold(0.0).first.weight + 1.5 * step
    )


def test_even_kernels_and_bad_knots_are_refused():
    network = build_network("adafm-net", {"width": 4, "blocks": 1})
    with pytest.raises(UsageError, match="odd"):
        build_tuner("adafm", network, {"kernel": 2})
    for knots in ((0.0,), (0.1, 1.0), (0.0, 0.5), (0.0, 0.5, 0.5, 1.0)):
        with pytest.raises(UsageError, match="ascend"):
            build_tuner("dni", network, knots=knots)


def test_groups_that_fit_no_layer_are_refused():
    network = build_network("adafm-net", {"width": 4, "blocks": 1})
    build_tuner("ftn", network, {"groups": 4})
    with pytest.raises(UsageError, match="groups 7 divides none"):
        build_tuner("ftn", network, {"groups": 7})


def test_adafm_needs_a_convolution_to_come_after():
    network = build_network("adafm-net", {"width": 4, "blocks": 1})
    network.sites = {name: site for name, site in network.sites.items() if site.after is None}
    with pytest.raises(UsageError, match="no convolution after which AdaFM could come"):
        build_tuner("adafm", network)
