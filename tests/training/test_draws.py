"""Random numbers depend on (seed, rank, step, purpose) and on nothing else."""

import pytest
import torch

from stylegan_fast.training.draws import Draws, GeneratorInputs, keyed_seed


def inputs(draws: Draws, step: int, network: str = "D", mixing_prob: float = 0.9) -> GeneratorInputs:
    return draws.generator_inputs(step, network, 6, 5, None, 8, mixing_prob)


def test_keys_that_differ_anywhere_give_other_seeds() -> None:
    keys = [(0, 0, 0, "z"), (1, 0, 0, "z"), (0, 1, 0, "z"), (0, 0, 1, "z"), (0, 0, 0, "mix"), (0, 0, "0z")]
    seeds = {keyed_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_step_draws_the_same_whatever_was_drawn_before() -> None:
    fresh, used = Draws(7), Draws(7)
    for step in range(5):
        inputs(used, step)
        used.mirror_coins(step, 3)
    a, b = inputs(fresh, 5, mixing_prob=1.0), inputs(used, 5, mixing_prob=1.0)
    assert torch.equal(a.z, b.z)
    assert a.mixing is not None
    assert b.mixing is not None
    assert torch.equal(a.mixing.z2, b.mixing.z2)
    assert a.mixing.cutoff == b.mixing.cutoff
    noise = [torch.randn(4, generator=x.noise_generator) for x in (a, b) if x.noise_generator is not None]
    assert torch.equal(*noise)
    assert torch.equal(fresh.mirror_coins(5, 9), used.mirror_coins(5, 9))
    assert fresh.indices(5, "labels", 9, 100) == used.indices(5, "labels", 9, 100)


def test_steps_ranks_seeds_and_networks_draw_different_latents() -> None:
    drawn = [
        inputs(Draws(7), 0).z,
        inputs(Draws(7), 1).z,
        inputs(Draws(8), 0).z,
        inputs(Draws(7, rank=1), 0).z,
        inputs(Draws(7), 0, "G").z,
    ]
    assert not any(torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


def test_mixing_happens_as_often_as_asked_with_every_cutoff_alike() -> None:
    draws, steps = Draws(0), 3000
    mixed = [x.mixing.cutoff for x in (inputs(draws, step) for step in range(steps)) if x.mixing is not None]
    share = len(mixed) / steps
    assert abs(share - 0.9) < 4 * (0.09 / steps) ** 0.5
    counts = [mixed.count(cutoff) for cutoff in range(9)]
    assert counts[0] == counts[8] == 0  # uniform in [1, 8)
    expected = len(mixed) / 7
    assert all(abs(count - expected) < 4 * expected**0.5 for count in counts[1:8])


def test_repeated_discriminator_steps_draw_their_own_numbers() -> None:
    draws = Draws(0)
    assert not torch.equal(draws.mirror_coins(3, 64), draws.mirror_coins(3, 64, repeat=1))
    mixing = draws.gp_mixing(3, 0, 500)
    assert mixing.shape == (500, 1, 1, 1)
    assert 0 <= mixing.min() < 0.02
    assert 0.98 < mixing.max() < 1
    assert not torch.equal(mixing, draws.gp_mixing(3, 1, 500))


def test_rows_of_the_inputs_are_those_of_the_whole() -> None:
    whole = inputs(Draws(0), 0, mixing_prob=1.0)
    assert whole.has_noise
    with pytest.raises(ValueError, match="drawn for the whole batch"):
        whole.part(slice(0, 2))
    part = whole.with_noise_seeds(torch.arange(12).view(6, 2)).part(slice(2, 5))
    assert torch.equal(part.z, whole.z[2:5])
    assert part.mixing is not None
    assert whole.mixing is not None
    assert torch.equal(part.mixing.z2, whole.mixing.z2[2:5])
    assert part.noise_seeds is not None
    assert part.noise_seeds[:, 0].tolist() == [4, 6, 8]
    assert not GeneratorInputs(whole.z).has_noise


def test_mirror_coins_are_fair() -> None:
    assert abs(Draws(0).mirror_coins(0, 10_000).float().mean() - 0.5) < 0.02
