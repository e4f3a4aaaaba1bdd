from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tunectl.learning.optimizers import Optimizer

LR = 0.01


def parameters(layout: torch.memory_format) -> list[Tensor]:
    """A kernel, a wide 1x1 one, depth-wise filters, a bias and a slope, with gradients."""
    torch.manual_seed(3)
    found = []
    for shape in ((8, 6, 3, 3), (24, 5, 1, 1), (8, 1, 3, 3), (8,), (1,)):
        value, gradient = torch.randn(shape), torch.randn(shape)
        if len(shape) == 4:
            value = value.contiguous(memory_format=layout)
            gradient = gradient.contiguous(memory_format=layout)
        value.requires_grad_().grad = gradient
        found.append(value)
    return found


def moved(kind: str, layout: torch.memory_format, steps: int = 1) -> list[Tensor]:
    made = parameters(layout)
    before = [p.detach().clone() for p in made]
    gradients = [p.grad.clone() for p in made]
    optimizer = Optimizer(made, kind)
    for _ in range(steps):
        for parameter, gradient in zip(made, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step(LR)
        assert all(p.grad is None for p in made)
    return [p.detach() - b for p, b in zip(made, before, strict=True)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_moves_a_kernel_by_an_orthogonal_matrix_and_the_rest_as_adamw_does(layout):
    muon, adamw = moved("muon", layout), moved("adamw", layout)
    for step in muon[:2]:
        rows = step.flatten(1)
        values = torch.linalg.svdvals(rows) / (LR * 0.2 * max(rows.shape) ** 0.5)
        assert values.min() > 0.5
        assert values.max() < 1.5
    for one, other in zip(muon[2:], adamw[2:], strict=True):
        assert torch.equal(one, other)


def test_muon_takes_the_same_step_in_either_layout():
    plain, last = moved("muon", torch.contiguous_format, 3), moved("muon", torch.channels_last, 3)
    for one, other in zip(plain, last, strict=True):
        torch.testing.assert_close(one, other, atol=0.02 * one.abs().max().item(), rtol=0)


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_moments_given_to_a_new_optimizer_let_it_go_on(kind):
    layout = torch.channels_last
    whole = moved(kind, layout, 4)
    made = parameters(layout)
    before = [p.detach().clone() for p in made]
    gradients = [p.grad.clone() for p in made]
    optimizer = Optimizer(made, kind)
    assert optimizer.moments(made[0]) == {}
    for step in range(4):
        if step == 2:
            kept = [optimizer.moments(p) for p in made]
            optimizer = Optimizer(made, kind)
            for parameter, moments in zip(made, kept, strict=True):
                fresh = optimizer.begin(parameter)
                assert fresh.keys() == moments.keys()
                for name, tensor in fresh.items():
                    tensor.copy_(moments[name])
        for parameter, gradient in zip(made, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step(LR)
    for parameter, start, step in zip(made, before, whole, strict=True):
        assert torch.equal(parameter.detach() - start, step)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kind", "torchs"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_steps_are_those_of_torch(kind, torchs, layout):
    steps, made = moved(kind, layout, 3), parameters(layout)
    before = [p.detach().clone() for p in made]
    plain = torchs(made, LR, weight_decay=0)
    for _ in range(3):
        plain.step()
    for step, parameter, start in zip(steps, made, before, strict=True):
        torch.testing.assert_close(step, parameter.detach() - start)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_what_has_no_gradient_stays_and_has_no_moments(kind):
    made = parameters(torch.channels_last)
    made[0].grad = made[3].grad = None
    before = [p.detach().clone() for p in made]
    optimizer = Optimizer(made, kind)
    optimizer.step(LR)
    for i, parameter in enumerate(made):
        assert torch.equal(parameter, before[i]) == (i in (0, 3))
        assert bool(optimizer.moments(parameter)) == (i not in (0, 3))
