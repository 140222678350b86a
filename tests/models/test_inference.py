"""A generator optimised for inference draws the same pictures."""

import pytest
import torch

from stylegan_fast.models import Generator


def generator() -> Generator:
    torch.manual_seed(0)
    G = Generator(32, z_dim=16, w_dim=16, c_dim=2, mapping_layers=2, channel_base=256, channel_max=32)
    for p in G.parameters():  # at the start many of them are 0
        p.data += 0.1 * torch.randn_like(p)
    G.mapping.w_avg.normal_()
    return G


def inputs() -> dict:
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    return {"z": z, "c": torch.eye(2)[[0, 1, 0]], "noise_mode": "const", "truncation_psi": 0.7}


@pytest.mark.parametrize("lod", [0.0, 1.25])
@torch.no_grad()
def test_pictures_stay_the_same_in_fp32(lod: float) -> None:
    G = generator()
    expected = G(**inputs(), lod=lod)
    found = G.optimize_for_inference()(**inputs(), lod=lod)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@torch.no_grad()
def test_pictures_in_bfloat16_are_close() -> None:
    G = generator()
    expected, found = G(**inputs()), G.optimize_for_inference(torch.bfloat16)(**inputs())
    assert found.dtype == torch.bfloat16
    error = (found.float() - expected).square().mean().sqrt()
    assert 10 ** (-60 / 20) < error / (expected.max() - expected.min()) < 10 ** (-38 / 20)


@torch.no_grad()
def test_the_original_is_left_as_it_was_and_the_copy_does_not_follow_it() -> None:
    G = generator()
    fast = G.optimize_for_inference()
    before = fast(**inputs())
    assert all(p.requires_grad for p in G.parameters())
    assert G.synthesis.dtype is None
    for p in G.parameters():
        p.zero_()
    assert torch.equal(fast(**inputs()), before)
    assert not torch.equal(G(**inputs()), before)


@torch.no_grad()
def test_weights_are_worked_out_once() -> None:
    fast = generator().optimize_for_inference()
    fast(**inputs())
    with torch.profiler.profile() as profile:
        fast(**inputs())
    assert "aten::flip" not in {event.name for event in profile.events()}  # a step of composing up-convolutions
