"""Losses, penalties and their gradients equal the official ones, on every backend of the CPU."""

import pytest
import torch
from torch import Tensor, nn

from stylegan_fast.interop import official
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training import losses
from tests import golden_data as golden

# file of the losses, of the generator, of the discriminator, its lods
PAIRS = {
    "losses_r64": ("generator_r64", "discriminator_r64", (0.0, 1.25)),
    "losses_cond_r32": ("generator_cond_r32", "discriminator_cond_r32", (0.0, 0.5)),
}
CASES = [(name, lod) for name, (_, _, lods) in PAIRS.items() for lod in lods]
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
# The README's bounds, doubled for losses: a softplus of two scores near 0 stands where one array's maximum is small.
SCORES = {torch.float64: 5e-5, torch.float32: 1e-4}
# A penalty is made of a gradient, so in float32 the README's bound of gradients holds: an input of a leaky ReLU within
# rounding distance of 0 may take the other branch.
PENALTIES = {torch.float64: 5e-5, torch.float32: golden.GRADIENT[torch.float32]}


class Pair:
    """The two networks of a file with its inputs, run at one lod on images of the active size."""

    def __init__(self, name: str, lod: float, dtype: torch.dtype) -> None:
        generator, discriminator, _ = PAIRS[name]
        self.name, self.lod, self.dtype = name, lod, dtype
        self.prefix = f"lod{lod:g}".replace(".", "p") + "/"
        self.G: Generator = golden.generator(generator, dtype)
        self.D: Discriminator = golden.discriminator(discriminator, dtype)
        self.c = golden.labels(name, dtype)
        reals = golden.tensor(discriminator, "in/images", dtype)
        self.reals = nn.functional.avg_pool2d(reals, 1 << int(lod)).requires_grad_()
        self.fakes: Tensor = self.G(golden.tensor(name, "in/z", dtype), self.c, lod=lod, noise_mode="const")

    def discriminate(self, images: Tensor) -> Tensor:
        return self.D(images, self.c, lod=self.lod)

    def expect(self, ours: Tensor, key: str, tolerance: float | None = None, floor: float = 0.0) -> None:
        expected = golden.load(self.name)[self.prefix + key]
        golden.assert_matches(ours, expected, tolerance or SCORES[self.dtype], f"{self.name} {self.prefix}{key}", floor)

    def gradients_in_the_file(self, network: str) -> int:
        return sum("/grad/" in key for key in golden.under(self.name, self.prefix + network))

    def expect_gradients(self, loss: Tensor, network: nn.Module, key: str) -> int:
        """Compares with the file's gradients, where it has them; returns how many there were."""
        arrays = golden.under(self.name, f"{self.prefix}{key}/grad/")
        if not arrays:
            return 0
        translate = official.generator_state_dict if network is self.G else official.discriminator_state_dict
        expected = translate(arrays)
        parameters = dict(network.named_parameters())
        assert expected.keys() == parameters.keys()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:  # a layer this lod does not use
                assert expected[name].abs().max() == 0, name
                continue
            # The mean of WGAN's scores cancels in D's last bias: meaningful absolutely only.
            floor = 1.0 if name == "b4.out.bias" else 0.0
            golden.assert_matches(gradient, expected[name], golden.GRADIENT[self.dtype], f"{key} {name}", floor)
        return len(arrays)


@pytest.mark.parametrize(("name", "lod"), CASES)
@DTYPES
def test_losses_of_the_generator_equal_official(name: str, lod: float, dtype: torch.dtype, backend: str) -> None:
    pair = Pair(name, lod, dtype)
    scores = pair.discriminate(pair.fakes)
    pair.expect(scores, "fake_scores")
    compared = 0
    for key, objective in {
        "G_logistic_nonsaturating": losses.NONSATURATING,
        "G_logistic_saturating": losses.SATURATING,
        "G_wgan": losses.WGAN,
    }.items():
        loss = objective.g(scores)
        pair.expect(loss, f"{key}/loss")
        pair.expect(loss.mean(), f"{key}/loss_mean", floor=1.0)  # a mean of scores of both signs
        compared += pair.expect_gradients(loss.mean(), pair.G, key)
    assert compared == pair.gradients_in_the_file("G_")


@pytest.mark.parametrize(("name", "lod"), CASES)
@DTYPES
def test_losses_and_penalties_of_the_discriminator_equal_official(
    name: str, lod: float, dtype: torch.dtype, backend: str
) -> None:
    pair = Pair(name, lod, dtype)
    fakes = pair.fakes.detach().requires_grad_()
    fake_scores, real_scores = pair.discriminate(fakes), pair.discriminate(pair.reals)
    pair.expect(real_scores, "real_scores")
    r1 = losses.squared_gradient_norm(pair.reals, real_scores, lod)
    r2 = losses.squared_gradient_norm(fakes, fake_scores, lod)
    mixing = golden.tensor(name, "in/mixing_factors", dtype)
    norms = losses.mixed_gradient_norm(pair.discriminate, pair.reals, fakes, mixing, lod)
    pair.expect(r1, "D_logistic_simplegp_r1_10/Loss/r1_penalty", PENALTIES[dtype])
    pair.expect(r1, "D_logistic_simplegp_r1_5_r2_3/Loss/r1_penalty", PENALTIES[dtype])
    pair.expect(r2, "D_logistic_simplegp_r1_5_r2_3/Loss/r2_penalty", PENALTIES[dtype])
    for key in ("D_wgan_gp", "D_hinge_gp"):
        pair.expect(norms, f"{key}/Loss/mixed_norms", PENALTIES[dtype])
    for key in ("D_wgan", "D_wgan_gp"):
        pair.expect(real_scores.square(), f"{key}/Loss/epsilon_penalty")

    def terms(objective: losses.Objective) -> Tensor:
        return objective.d_fake(fake_scores) + objective.d_real(real_scores)

    logistic, hinge, wgan = terms(losses.NONSATURATING), terms(losses.HINGE), terms(losses.WGAN)
    penalty = losses.wgan_gradient_penalty(norms)
    compared = 0
    for key, loss in {
        "D_logistic": logistic,
        "D_logistic_simplegp_r1_10": logistic + 5.0 * r1,  # [N, 1] + [N]: the official [N, N]
        "D_logistic_simplegp_r1_5_r2_3": logistic + 2.5 * r1 + 1.5 * r2,
        "D_hinge": hinge,
        "D_hinge_gp": hinge + penalty,
        "D_wgan": wgan,
        "D_wgan_gp": wgan + penalty,
    }.items():
        bound = (SCORES if loss.shape[1] == 1 else PENALTIES)[dtype]  # with a penalty it is [N, N]
        pair.expect(loss, f"{key}/loss", bound)
        pair.expect(loss.mean(), f"{key}/loss_mean", bound, floor=1.0)
        compared += pair.expect_gradients(loss.mean(), pair.D, key)
    compared += pair.expect_gradients((5.0 * r1).mean(), pair.D, "D_r1_term_only")
    assert compared == pair.gradients_in_the_file("D_") > 0


@pytest.mark.parametrize("name", list(PAIRS))
@DTYPES
def test_gradient_of_the_scores_by_the_reals_equals_official(name: str, dtype: torch.dtype, backend: str) -> None:
    pair = Pair(name, 0.0, dtype)
    (gradient,) = torch.autograd.grad(pair.discriminate(pair.reals).sum(), pair.reals)
    pair.expect(gradient, "grad_sum_real_scores_wrt_reals", golden.GRADIENT[dtype])
