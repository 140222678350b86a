"""What moves: where ways begin, end and meet."""

import numpy as np
import pytest
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.figures.samples import SampleSettings, draw_seeds
from stylegan_fast.figures.sheet import to_uint8
from stylegan_fast.figures.walks import Grid, mixing_sweep, noise_animation, shared_out, walk
from stylegan_fast.models import Generator
from stylegan_fast.seeds import latent_of_seed
from tests.networks import small_generator

SETTINGS = SampleSettings(truncation_psi=0.8)
ONE = Grid(1, 1, 16)


@pytest.fixture
def generator() -> Generator:
    return small_generator()


def seen(G: Generator, seed: int) -> np.ndarray:
    ((_, image),) = draw_seeds(G, [seed], SETTINGS)
    return image.astype(int)


@pytest.mark.parametrize("space", ["w", "z"])
@pytest.mark.parametrize("closed", [False, True])
def test_a_walk_passes_through_its_images(space: str, closed: bool, generator: Generator) -> None:
    frames = [frame.astype(int) for frame in walk(generator, [3, 4, 5], ONE, 4, SETTINGS, space, closed)]
    assert len(frames) == (12 if closed else 9)
    for place, seed in enumerate((3, 4, 5)):
        assert np.abs(frames[4 * place] - seen(generator, seed)).max() <= 1
    steps = [np.abs(b - a).mean() for a, b in zip(frames, frames[1:] + frames[: closed and 1], strict=False)]
    jump = np.abs(seen(generator, 3) - seen(generator, 4)).mean()
    assert max(steps) < jump  # no leap, and in a loop none from the last frame to the first


def test_each_cell_walks_through_its_own_seeds(generator: Generator) -> None:
    frame = next(walk(generator, [0, 1, 2, 3], Grid(2, 1, 16), 2, SETTINGS, "w", True))
    assert frame.shape == (16, 32, 3)
    assert np.abs(frame[:, :16] - seen(generator, 0)).max() <= 1
    assert np.abs(frame[:, 16:] - seen(generator, 2)).max() <= 1


def test_mixing_sweeps_one_group_of_styles(generator: Generator) -> None:
    frames = list(mixing_sweep(generator, [0, 1, 2, 3], ONE, 2, SETTINGS, "coarse"))
    assert len(frames) == 6
    ws, other = (generator.mapping(torch.from_numpy(latent_of_seed(seed, 8))[None], None, 0.8, 8) for seed in (0, 2))
    ws[:, :4] = other[:, :4]
    expected = to_uint8(generator.synthesis(ws, noise_mode="const"))[0].astype(int)
    assert np.abs(frames[2] - expected).max() <= 1


def test_noise_moves_and_comes_back_and_the_network_is_as_before(generator: Generator) -> None:
    before = generator.synthesis.block(16).layer1.noise_const.clone()
    frames = [frame.astype(int) for frame in noise_animation(generator, [4], ONE, 8, SETTINGS)]
    assert np.abs(frames[0] - seen(generator, 4)).max() <= 1
    assert np.abs(frames[4] - frames[0]).max() > 3
    assert np.abs(frames[-1] - frames[0]).mean() < np.abs(frames[4] - frames[0]).mean()
    assert torch.equal(generator.synthesis.block(16).layer1.noise_const, before)


def test_seeds_that_do_not_go_round_are_told() -> None:
    assert shared_out([1, 2, 3, 4], Grid(2, 1, 8)) == [[1, 2], [3, 4]]
    with pytest.raises(UserError, match="3 seeds"):
        shared_out([1, 2, 3], Grid(2, 1, 8))
