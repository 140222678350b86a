"""Losses and penalties against formulas written anew and against finite differences. (Golden numbers: see
``test_golden_losses``.)"""

import math

import pytest
import torch
from torch import Tensor, nn

from stylegan_fast.training import losses
from stylegan_fast.training.losses import OBJECTIVES

f, r = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None], torch.linspace(-4, 2, 13, dtype=torch.float64)[:, None]


def log1pexp(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(x))


# name: (generator's term, the discriminator's two together), as in the papers named in `losses`
FORMULAS = {
    "nonsaturating": (-torch.log(torch.sigmoid(f)), -torch.log(torch.sigmoid(r)) - torch.log(1 - torch.sigmoid(f))),
    "saturating": (torch.log(1 - torch.sigmoid(f)), -torch.log(torch.sigmoid(r)) - torch.log(1 - torch.sigmoid(f))),
    "hinge": (-f, torch.clamp(1 - r, min=0) + torch.clamp(1 + f, min=0)),
    "least-squares": ((f - 1) ** 2, (r - 1) ** 2 + f**2),
    "wgan": (-f, f - r + 0.001 * r**2),
    "wgan-gp": (-f, f - r + 0.001 * r**2),
}


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_an_objective_is_the_published_formula(name: str) -> None:
    objective = OBJECTIVES[name]
    of_g, of_d = FORMULAS[name]
    torch.testing.assert_close(objective.g(f), of_g, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(objective.d_fake(f) + objective.d_real(r), of_d, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_an_objective_has_the_slope_that_finite_differences_have(name: str) -> None:
    objective, step = OBJECTIVES[name], 1e-6
    scores = torch.tensor([-2.3, -0.4, 0.3, 1.7], dtype=torch.float64)  # none at the corner of the hinge
    for term in (objective.g, objective.d_fake, objective.d_real):
        leaf = scores.clone().requires_grad_()
        (slope,) = torch.autograd.grad(term(leaf).sum(), leaf)
        difference = (term(scores + step) - term(scores - step)) / (2 * step)
        torch.testing.assert_close(slope, difference, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_better_fakes_cost_the_generator_less_and_the_discriminator_more(name: str) -> None:
    objective = OBJECTIVES[name]
    worse, better = torch.tensor([0.1]), torch.tensor([0.7])  # between the targets of least squares
    assert objective.g(better) < objective.g(worse)
    assert objective.d_fake(better) > objective.d_fake(worse)
    assert objective.d_real(better) < objective.d_real(worse)


class Critic(nn.Module):
    """A smooth network of 12 inputs; scores within a batch depend on one another, as minibatch stddev makes them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(12, 5).double(), nn.Linear(5, 1).double()

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.tanh(self.a(images.flatten(1)))
        return self.b(hidden * (1 + hidden.std(dim=0)))


def numeric_image_gradient(critic: Critic, images: Tensor, step: float = 1e-5) -> Tensor:
    flat = images.flatten()
    gradient = torch.empty_like(flat)
    for i in range(len(flat)):
        ends = []
        for sign in (1, -1):
            moved = flat.clone()
            moved[i] += sign * step
            ends.append(critic(moved.view_as(images)).sum())
        gradient[i] = (ends[0] - ends[1]) / (2 * step)
    return gradient.view_as(images).detach()


@pytest.mark.parametrize("lod", [0.0, 0.5, 1.0, 2.25])
def test_penalties_are_those_of_finite_differences_scaled_as_for_full_size_images(lod: float) -> None:
    critic = Critic()
    reals, fakes = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    numeric = numeric_image_gradient(critic, reals)
    ours = losses.squared_gradient_norm(reals.requires_grad_(), critic(reals), lod)
    expected = numeric.square().sum(dim=(1, 2, 3)) / 4 ** math.floor(lod)
    torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)
    mixing = torch.rand(4, 1, 1, 1, dtype=torch.float64)
    between = (reals + (fakes - reals) * mixing).detach()
    expected = numeric_image_gradient(critic, between).square().sum(dim=(1, 2, 3)).sqrt() / 2 ** math.floor(lod)
    norms = losses.mixed_gradient_norm(critic, reals, fakes, mixing, lod)
    torch.testing.assert_close(norms, expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(losses.wgan_gradient_penalty(norms), 10 * (norms - 1) ** 2)


def test_penalties_move_the_weights_as_finite_differences_say() -> None:
    critic = Critic()
    reals = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    fakes = torch.randn_like(reals)
    mixing = torch.rand(4, 1, 1, 1, dtype=torch.float64)

    def r1() -> Tensor:
        images = reals.clone().requires_grad_()
        return losses.squared_gradient_norm(images, critic(images)).mean()

    def gp() -> Tensor:
        return losses.wgan_gradient_penalty(losses.mixed_gradient_norm(critic, reals, fakes, mixing)).mean()

    for penalty in (r1, gp):
        (gradient,) = torch.autograd.grad(penalty(), critic.a.weight)
        for place in ((0, 0), (3, 7), (4, 11)):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    critic.a.weight[place] += sign * 1e-5
                ends.append(penalty().item())
                with torch.no_grad():
                    critic.a.weight[place] -= sign * 1e-5
            assert gradient[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_a_scale_passes_through_a_penalty_unseen() -> None:
    critic = Critic()
    images = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    plain = losses.squared_gradient_norm(images, critic(images))
    scaled = losses.squared_gradient_norm(images, critic(images), scale=torch.tensor(1024.0, dtype=torch.float64))
    torch.testing.assert_close(scaled, plain)
