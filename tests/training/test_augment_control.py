"""The strength of augmentation follows how well the discriminator knows its images."""

import pytest
import torch

from stylegan_fast.training.augment_control import AugmentStrength


def scores(share_positive: float, count: int = 10) -> torch.Tensor:
    positive = round(share_positive * count)
    return torch.cat([torch.full((positive, 1), 0.01), torch.full((count - positive, 1), -5.0)])


def after(strength: AugmentStrength, steps: int, share_positive: float) -> float:
    for _ in range(steps):
        strength.saw(scores(share_positive))
    return strength.p


def test_p_goes_from_0_to_1_in_the_published_500_kimg() -> None:
    assert AugmentStrength(target=0.6).kimg == 500
    strength = AugmentStrength(target=0.6, kimg=0.5)
    assert after(strength, 24, 1.0) == pytest.approx(24 * 10 / 500)
    assert strength.r == 1.0
    assert after(strength, 100, 1.0) == 1.0  # and not beyond


def test_p_falls_below_the_target_and_stays_at_it() -> None:
    strength = AugmentStrength(p=0.5, target=0.6, kimg=1.0)
    assert after(strength, 4, 0.8) == 0.5  # E[sign] = 0.8 - 0.2
    assert after(strength, 4, 0.7) == pytest.approx(0.46)
    assert after(strength, 1000, 0.0) == 0.0
    assert strength.r == -1.0


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
