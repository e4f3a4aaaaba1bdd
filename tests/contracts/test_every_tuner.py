"""What every tuner owes on every network. A new one is picked up from the registry by itself."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tunectl import checkpoint
from tunectl.errors import AlphaError, UsageError
from tunectl.header import Header, Part
from tunectl.inference.load import load
from tunectl.knob import Knob
from tunectl.learning import jobs, loop, run
from tunectl.learning.options import Options
from tunectl.networks import NETWORKS, Network, build_network, norms_of, receptive_radius
from tunectl.tuners import TUNERS, Mapped, Tunable, build_tuner

SMALL = {
    "adain-net": {"width": 8},
    "adafm-net": {"width": 8, "blocks": 2},
    "transform-net": {"width": 8, "blocks": 2},
    "unet": {"widths": [8, 12], "encoder": [1, 1], "decoder": [1]},
}
VARIANTS = [(name, {}) for name in TUNERS] + [("ftn", {"groups": 4}), ("adafm", {"kernel": 5})]
ALPHAS = (0.0, 0.2, 0.5, 0.7, 1.0)
every_pair = pytest.mark.parametrize(
    ("network", "tuner", "fields"),
    [(network, tuner, fields) for network in NETWORKS for tuner, fields in VARIANTS],
)
both_knots = pytest.mark.parametrize("knots", [(0.0, 1.0), (0.0, 0.5, 1.0)])


def make(
    network: str, tuner: str, fields: dict[str, int], knots: tuple[float, ...] = (0.0, 1.0)
) -> tuple[Network, Tunable]:
    """The base as it was, and the tunable model with the tuner at birth."""
    torch.manual_seed(0)
    base = build_network(network, SMALL[network])
    host = copy.deepcopy(base)
    return base, Tunable(host, build_tuner(tuner, host, fields, knots)).requires_grad_(False)


def perturb(model: Tunable) -> None:
    """Move every tuned parameter: at birth most promises would hold trivially."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.tuner.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)


def save(
    model: Tunable, path: Path, network: str, tuner: str, fields, dtype="fp32", size=None
) -> Header:
    header = Header(
        network=Part(network, size or SMALL[network]),
        tuner=Part(tuner, fields),
        knob=Knob((15.0, 50.0)),
        plain=False,
        dtype=dtype,
    )
    tensors = checkpoint.named(model.network.own_state(), model.tuner.state_dict())
    return checkpoint.write(path, header, tensors)


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize(("tuner", "fields"), VARIANTS)
def test_what_a_tuner_learned_bears_to_be_stored(tuner, fields, dtype, tmp_path: Path):
    """On layers large enough to be codes, by steps as small as those of training."""
    torch.manual_seed(0)
    wide = {"widths": [16, 192], "encoder": [1, 1], "decoder": [1]}
    network = build_network("unet", wide)
    model = Tunable(network, build_tuner(tuner, network, fields)).requires_grad_(False)
    for parameter in model.tuner.parameters():
        if tuner != "ftn" or parameter.ndim > 1:  # whose biases would drown the rest
            parameter.add_(torch.randn_like(parameter), alpha=0.002)
    effects = []
    for stored in ("fp32", dtype):
        save(model, tmp_path / "m.safetensors", "unet", tuner, fields, stored, wide)
        found = load(tmp_path / "m.safetensors", device="cpu", precision="fp32").network
        assert isinstance(found, Tunable)
        effects.append(found(picture(), 1.0) - found(picture(), 0.0))
    assert (effects[1] - effects[0]).norm() < 0.05 * effects[0].norm()


def picture() -> Tensor:
    return torch.rand(2, 3, 19, 26, generator=torch.Generator().manual_seed(2))


@every_pair
@pytest.mark.parametrize("half", [False, True])
def test_weights_made_once_have_the_same_gradients(network, tuner, fields, half, monkeypatch):
    if network == "transform-net":
        monkeypatch.setitem(SMALL, network, {**SMALL[network], "residual": True})
    _, model = make(network, tuner, fields, (0.0, 0.5, 1.0))
    perturb(model)
    model.to(torch.float32 if half else torch.float64, memory_format=torch.channels_last)
    model.requires_grad_(True)
    x = picture() if half else picture().double()
    calls, at_knot = [], model.tuner.at_knot
    monkeypatch.setattr(
        model.tuner, "at_knot", lambda net, knot: calls.append(knot) or at_knot(net, knot)
    )

    def gradients(context) -> list[Tensor | None]:
        model.zero_grad()
        with context():
            for alpha in (0.3, 0.7, 0.3, 1.0):
                with torch.autocast("cpu", torch.bfloat16, half):
                    y = model(x, alpha)
                y.to(x.dtype).square().mean().backward()
        return [parameter.grad for parameter in model.parameters()]

    if tuner == "adain":  # whose pieces have styles of their own
        assert model.steps() is contextlib.nullcontext
        return
    plain = gradients(contextlib.nullcontext)
    largest = max(float(gradient.abs().max()) for gradient in plain if gradient is not None)
    assert largest > 0
    near = (1e-4 if half else 1e-6) * largest  # another rounding in between moves half precision
    calls.clear()
    for one, other in zip(gradients(model.steps()), plain, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=near)
    assert sorted(calls) == [0, 0.5, 1]


def test_a_style_a_picture_cannot_be_compiled():
    _, model = make("adain-net", "adain", {})
    with pytest.raises(UsageError, match="cannot be compiled"):
        model.steps(compiled=True)


@every_pair
@both_knots
def test_new_tuner_changes_nothing_at_any_alpha(network, tuner, fields, knots):
    base, model = make(network, tuner, fields, knots)
    for alpha in ALPHAS:
        assert torch.equal(model(picture(), alpha), base(picture()))


@pytest.mark.parametrize(("tuner", "fields"), VARIANTS)
@both_knots
def test_a_silenced_shortcut_fades_the_input_out(tuner, fields, knots):
    network = build_network("transform-net", {**SMALL["transform-net"], "residual": True})
    torch.nn.init.zeros_(network.last.weight)  # what is left is the shortcut
    fresh = build_tuner(tuner, network, fields, knots)
    fresh.silence(network, network.shortcut)
    model = Tunable(network, fresh).requires_grad_(False)
    for alpha in ALPHAS:
        share = 1 - alpha if tuner in ("dni", "ftn", "adafm") else 1.0
        assert torch.allclose(model(picture(), alpha), share * picture(), atol=1e-6)


@every_pair
@both_knots
def test_alpha_0_is_the_base_bit_for_bit(network, tuner, fields, knots):
    base, model = make(network, tuner, fields, knots)
    perturb(model)
    assert torch.equal(model(picture(), 0.0), base(picture()))
    assert torch.equal(model.fold(0.0)(picture()), base(picture()))
    assert model.fold(0.0).state_dict().keys() == base.state_dict().keys()


@every_pair
@both_knots
def test_forward_equals_fold(network, tuner, fields, knots):
    base, model = make(network, tuner, fields, knots)
    perturb(model)
    for alpha in ALPHAS:
        output = model(picture(), alpha)
        torch.testing.assert_close(output, model.fold(alpha)(picture()), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(model(picture(), 1.0), base(picture()), atol=1e-5)


@every_pair
@both_knots
def test_a_constant_map_equals_the_scalar(network, tuner, fields, knots):
    _, model = make(network, tuner, fields, knots)
    perturb(model)
    mapped = Mapped(model)
    for alpha in ALPHAS:
        output = mapped(picture(), torch.full((1, 1, 19, 26), alpha))
        torch.testing.assert_close(output, model(picture(), alpha), atol=1e-5, rtol=1e-4)


@every_pair
@both_knots
def test_a_map_moves_what_lies_near_it_and_nothing_else(network, tuner, fields, knots):
    base, model = make(network, tuner, fields, knots)
    perturb(model)
    if norms_of([model]):
        pytest.skip("an instance norm carries every pixel's share everywhere")
    radius = receptive_radius(model.fold(1.0))
    width = 4 * radius + 64
    x = torch.rand(1, 3, 16, width, generator=torch.Generator().manual_seed(2))
    alpha = torch.zeros(1, 1, 16, width)
    alpha[..., : width // 2] = torch.linspace(0, 1, width // 2)
    output = Mapped(model)(x, alpha)
    far = width // 2 + radius + model.network.stride
    torch.testing.assert_close(output[..., far:], base(x)[..., far:], atol=1e-6, rtol=0)
    assert not torch.allclose(output[..., :far], base(x)[..., :far], atol=1e-4)
    # Within the map, the two alphas at its ends give different answers.
    assert not torch.allclose(output, model(x, 1.0), atol=1e-4)


@every_pair
def test_weights_are_piecewise_linear_in_alpha(network, tuner, fields):
    _, model = make(network, tuner, fields, (0.0, 0.5, 1.0))
    perturb(model)
    own = dict(model.network.named_parameters())

    def at(alpha: float) -> dict[str, Tensor]:
        return {**own, **model.tuner.weights(model.network, alpha)}

    low, middle, high = at(0.5), at(0.75), at(1.0)
    for name in own:
        torch.testing.assert_close(middle[name], (low[name] + high[name]) / 2)


@every_pair
@pytest.mark.parametrize("way", ["endpoint", "path"])
def test_twenty_steps_move_the_output_and_nothing_of_the_base(
    network, tuner, fields, way, photos: Path, tmp_path: Path, plain_base, monkeypatch
):
    if network != "unet":  # once is enough for what is the same for all
        monkeypatch.setattr(loop, "VALIDATIONS", 1)
        monkeypatch.setattr(run, "calibrate", lambda *_: ())
    base = plain_base(network)
    place = jobs.RunConfig(photos, tmp_path / "tuned.safetensors", device="cpu", precision="fp32")
    steps = Options(steps=20, batch=2, draws=1, patch=24, lr=1e-2, warmup=1)
    jobs.finetune(place, steps, base, tuner, way, 50, fields)
    _, before = checkpoint.read(base)
    _, after = checkpoint.read(place.output)
    kept = {name: tensor for name, tensor in after.items() if name.startswith("network.")}
    assert kept.keys() == before.keys()
    assert all(torch.equal(kept[name], before[name]) for name in before)
    plain = load(base, device="cpu", precision="fp32")
    tuned = load(place.output, device="cpu", precision="fp32")
    x = picture()
    assert torch.equal(tuned(x, alpha=0.0), plain(x))
    for alpha in (0.5, 1.0):
        assert (tuned(x, alpha=alpha) - plain(x)).abs().max() > 1e-4


@pytest.fixture(scope="session")
def plain_base(tmp_path_factory: pytest.TempPathFactory, photos: Path):
    made: dict[str, Path] = {}

    def get(network: str) -> Path:
        if network not in made:
            path = tmp_path_factory.mktemp("bases") / f"{network}.safetensors"
            place = jobs.RunConfig(photos, path, device="cpu", precision="fp32")
            steps = Options(steps=20, batch=2, draws=1, patch=24, lr=3e-3, warmup=1)
            made[network] = jobs.train(place, steps, "denoise", network, [15], SMALL[network])
        return made[network]

    return get


@every_pair
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_save_and_load_are_bit_equal_at_the_stored_dtype(
    network, tuner, fields, dtype, tmp_path: Path
):
    _, model = make(network, tuner, fields)
    perturb(model)
    header = save(model, tmp_path / "model.safetensors", network, tuner, fields, dtype)
    tensors = checkpoint.named(model.network.own_state(), model.tuner.state_dict())
    kept, stored = checkpoint.read(tmp_path / "model.safetensors")
    assert kept == header
    assert stored.keys() == tensors.keys()
    finer = tuner == "ftn" and dtype == "bf16"
    for name, tensor in tensors.items():
        kind = torch.float16 if finer and name.startswith("tuner.") else checkpoint.DTYPES[dtype]
        assert torch.equal(stored[name], tensor.to(kind))
    for name, parameter in model.named_parameters():
        if not (name.startswith("network.") and model.network.in_site(name[8:])):
            parameter.copy_(stored[name].float())
    loaded = load(tmp_path / "model.safetensors", device="cpu", precision="fp32")
    x = picture()[:, :, :16, :24]
    # The tensors are bit-equal; the engine's memory layout sums them in another order.
    torch.testing.assert_close(
        loaded(x, alpha=0.7), model.fold(0.7)(x).clamp(0, 1), atol=1e-5, rtol=1e-4
    )


@every_pair
def test_a_folded_file_is_plain_and_equals_the_model(network, tuner, fields, tmp_path: Path):
    from tunectl.inference.interpolate import fold_file

    _, model = make(network, tuner, fields)
    perturb(model)
    save(model, tmp_path / "model.safetensors", network, tuner, fields)
    tunable = load(tmp_path / "model.safetensors", device="cpu", precision="fp32")
    fold_file(tmp_path / "model.safetensors", 0.4, tmp_path / "plain.safetensors")
    plain = load(tmp_path / "plain.safetensors", device="cpu", precision="fp32")
    assert not plain.tunable
    assert plain.header.level == pytest.approx((29.0, 29.0))
    assert torch.equal(plain(picture()), tunable(picture(), alpha=0.4))


@pytest.mark.parametrize(("tuner", "fields"), VARIANTS)
def test_a_knob_with_two_ends(tuner, fields):
    base, model = make("unet", tuner, fields, (-1.0, 0.0, 1.0))
    lists = [module for module in model.tuner.modules() if isinstance(module, torch.nn.ModuleList)]
    lower = {id(p) for ends in lists for p in ends[0].parameters()}
    generator = torch.Generator().manual_seed(1)
    for parameter in model.tuner.parameters():
        if id(parameter) in lower:
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    x = picture()
    for alpha in (0.0, 0.4, 1.0):  # its own end has not moved yet
        assert torch.equal(model(x, alpha), base(x))
    assert not torch.allclose(model(x, -0.4), base(x), atol=1e-3)
    perturb(model)
    assert torch.equal(model.fold(0)(x), base(x))
    for alpha in (-1.0, -0.4, 0.6, 1.0):
        expected = model(x, alpha)
        assert torch.allclose(model.fold(alpha)(x), expected, atol=1e-5)
        mapped = Mapped(model)(x, torch.full((1, 1, *x.shape[-2:]), alpha))
        assert torch.allclose(mapped, expected, atol=1e-4)


def test_alphas_a_site():
    base, model = make("transform-net", "dynamic-net", {})
    perturb(model)
    x = picture()
    assert torch.equal(model.fold((0.0, 0.0, 0.0))(x), base(x))
    assert torch.allclose(model.fold((0.3, 0.3, 0.3))(x), model(x, 0.3), atol=1e-6)
    psi = model.tuner.branches["latent_1"].blocks[0]
    base.latent_1.register_forward_hook(lambda _module, _inputs, z: z + 0.7 * psi(z))
    assert torch.allclose(model.fold((0.0, 0.7, 0.0))(x), base(x), atol=1e-5)
    with pytest.raises(AlphaError, match="2 alphas for a model that takes one, or 3"):
        model.fold((0.3, 0.3))
    for tuner, fields in VARIANTS:
        if tuner != "dynamic-net":
            with pytest.raises(AlphaError, match=r"3 alphas for a model that takes one\n"):
                make("unet", tuner, fields)[1].fold((0.0, 0.5, 1.0))
