"""The strength of augmentation follows how well the discriminator knows its images."""

import pytest
import torch

from stylegan_fast.training.augment_control import AugmentStrength


def after(strength: AugmentStrength, steps: int, mean_sign: float) -> float:
    """p after so many steps of 10 images."""
    for _ in range(steps):
        strength.saw(torch.tensor(mean_sign), 10)
    return strength.p


def test_p_goes_from_0_to_1_in_the_published_500_kimg() -> None:
    assert AugmentStrength(target=0.6).kimg == 500
    strength = AugmentStrength(target=0.6, kimg=0.5)
    assert after(strength, 24, 1.0) == pytest.approx(24 * 10 / 500)
    assert strength.r == 1.0
    assert after(strength, 100, 1.0) == 1.0  # and not beyond


def test_p_follows_the_mean_of_four_steps_and_rests_at_the_target() -> None:
    strength = AugmentStrength(p=0.5, target=0.5, kimg=1.0)
    after(strength, 2, 0.25)
    assert after(strength, 2, 1.0) == pytest.approx(0.54)
    assert strength.r == 0.625
    assert after(strength, 4, 0.5) == pytest.approx(0.54)
    assert after(strength, 4, 0.25) == pytest.approx(0.5)
    assert after(strength, 1000, -1.0) == 0.0


def test_p_moves_only_every_fourth_step() -> None:
    strength = AugmentStrength(target=0.6, kimg=1.0)
    assert [after(strength, 1, 1.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.04, 0.04])


def test_without_a_target_p_is_fixed() -> None:
    assert after(AugmentStrength(p=0.3), 50, 1.0) == 0.3


def test_a_strength_restored_between_two_adjustments_goes_on_alike() -> None:
    whole, first, second = (AugmentStrength(target=0.6, kimg=1.0) for _ in range(3))
    after(whole, 10, 0.9)
    after(first, 6, 0.9)
    second.load_state_dict(first.state_dict())
    assert after(second, 4, 0.9) == whole.p
    assert second.state_dict() == whole.state_dict()
