"""Directions in W whose answer is known, and edits along them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegan_fast.errors import UserError
from stylegan_fast.latent import (
    attribute_direction,
    edit,
    factorised_directions,
    orthogonal_to,
    principal_axes,
    sample_w,
)
from stylegan_fast.latent.named import named_direction, save_direction
from stylegan_fast.models import Generator
from tests.networks import small_generator


@pytest.fixture
def generator() -> Generator:
    return small_generator()


def test_principal_axes_are_those_of_numpys_covariance() -> None:
    w = torch.randn(500, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64) + 3
    found = principal_axes(w)
    values, vectors = np.linalg.eigh(np.cov(w.numpy(), rowvar=False))
    assert np.allclose(found.deviations.numpy() ** 2, values[::-1])
    for axis, vector in zip(found.axes.numpy(), vectors.T[::-1], strict=True):
        assert abs(axis @ vector) == pytest.approx(1)
        assert axis[np.abs(axis).argmax()] > 0
    assert torch.allclose(found.mean, w.mean(dim=0))


def test_the_first_factorised_direction_is_that_to_which_styles_respond_most(generator: Generator) -> None:
    directions, values = factorised_directions(generator)
    blocks = [generator.synthesis.block(size) for size in (4, 8, 16)]
    weights = torch.cat([layer.epilogue.affine.weight for b in blocks for layer in (b.layer0, b.layer1)])
    assert torch.allclose(directions @ directions.T, torch.eye(8), atol=1e-5)
    for direction, value in zip(directions, values, strict=True):
        assert float((weights @ direction).square().sum()) == pytest.approx(float(value), rel=1e-4)
    assert (values[:-1] >= values[1:]).all()
    others = torch.nn.functional.normalize(torch.randn(100, 8), dim=1)
    assert (weights @ others.T).square().sum(dim=0).max() <= values[0] * 1.0001


def test_factorisation_looks_at_the_layers_asked_for(generator: Generator) -> None:
    weight = generator.synthesis.block(4).layer1.epilogue.affine.weight
    direction = factorised_directions(generator, [1])[0][0]
    assert float(abs(torch.linalg.svd(weight)[2][0] @ direction)) == pytest.approx(1, abs=1e-4)


def test_an_attribute_direction_points_to_where_the_attribute_is_not_where_w_varies() -> None:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(4000, 5, generator=generator) * torch.tensor([1.0, 10.0, 1.0, 1.0, 1.0])
    w[:, 1] += 8 * w[:, 0]  # the attribute goes along with a wide axis that does not decide it
    labels = w[:, 0] > 0.2
    direction = attribute_direction(w, labels)
    assert float(direction.norm()) == pytest.approx(1)
    said = w @ direction > (w @ direction).median()
    assert float((said == labels).float().mean()) > 0.85


def test_an_attribute_that_is_never_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 samples with"):
        attribute_direction(torch.randn(10, 3), torch.zeros(10))


def test_a_direction_made_orthogonal_leaves_the_others_alone() -> None:
    direction, others = torch.randn(8), torch.randn(3, 8)
    found = orthogonal_to(direction, others)
    assert float(found.norm()) == pytest.approx(1)
    assert torch.allclose(others @ found, torch.zeros(3), atol=1e-5)


def test_an_edit_moves_only_its_layers_by_its_amount() -> None:
    ws, direction = torch.randn(2, 6, 8), torch.randn(8)
    moved = edit(ws, direction, torch.tensor([0.5, -2.0]), layers=[1, 3])
    assert torch.equal(moved[:, [0, 2, 4, 5]], ws[:, [0, 2, 4, 5]])
    assert torch.allclose(moved[1, 3] - ws[1, 3], -2 * direction, atol=1e-6)
    assert torch.allclose(edit(ws, direction, 1.0) - ws, direction.expand_as(ws), atol=1e-6)


def test_names_mean_directions(generator: Generator, tmp_path: Path) -> None:
    w = sample_w(generator, 1000)
    found = named_direction(generator, "pca:1", samples=1000)
    assert torch.allclose(found.vector, principal_axes(w).axes[1])
    assert found.deviation == pytest.approx(float(principal_axes(w).deviations[1]), rel=1e-4)
    assert torch.equal(named_direction(generator, "factor:0").vector, factorised_directions(generator)[0][0])
    save_direction(found, tmp_path / "x.npy")
    assert torch.allclose(named_direction(generator, str(tmp_path / "x.npy"), samples=1000).vector, found.vector)


def test_an_attribute_direction_makes_pictures_brighter(generator: Generator) -> None:
    threshold = float(generator(torch.randn(200, 8), noise_mode="const").mean())

    def brightness(images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3))[:, None] - threshold

    found = named_direction(generator, "attribute:0", classify=brightness, samples=500)
    ws = sample_w(generator, 50, seed=9)[:, None].expand(-1, generator.num_ws, -1)
    means = [
        float(generator.synthesis(edit(ws, found.vector, k * found.deviation), noise_mode="none").mean())
        for k in (-2, 0, 2)
    ]
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("pca:8", "from 0 to 7"),
        ("pca:x", "from 0 to 7"),
        ("smile", "no such file"),
        ("attribute:glasses", "need a classifier"),
        ("{tmp}/text.npy", "not a .npy file"),
        ("{tmp}/objects.npy", "not a .npy file"),
        ("{tmp}/short.npy", "3 numbers"),
        ("{tmp}/zero.npy", "not 0"),
    ],
)
def test_a_name_that_means_nothing_is_told(text: str, part: str, generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "short.npy", np.ones(3))
    np.save(tmp_path / "zero.npy", np.zeros(8))
    with pytest.raises(UserError, match=part):
        named_direction(generator, text.format(tmp=tmp_path), samples=100)
