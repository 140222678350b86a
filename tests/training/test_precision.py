"""Precision: what is chosen, and that losses in fp16 are scaled."""

import math

import pytest
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.training.precision import LossScale, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "name"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((7, 0), "fp16"), ((6, 1), "fp32")]
)
def test_auto_takes_what_a_gpu_has_units_for(
    capability: tuple[int, int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda")).name == name


@pytest.mark.parametrize(("has_bf16", "name"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_what_a_cpu_has_units_for(has_bf16: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, asked, lambda: has_bf16, raising=False)
    assert choose_precision("auto", CPU).name == name


def test_tf32_is_refused_on_the_cpu() -> None:
    with pytest.raises(UserError, match="--precision tf32: cpu here has no TF32"):
        choose_precision("tf32", CPU)


def test_fp32_means_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's own default
    choose_precision("fp32", CPU).apply()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_the_scale_halves_after_a_skipped_step_and_doubles_after_many_good_ones() -> None:
    scale = LossScale(CPU, initial=1024.0, interval=3)
    yes, no = torch.tensor(True), torch.tensor(False)
    seen = []
    for applied in (yes, yes, no, yes, yes, yes, yes):
        scale.update(applied)
        seen.append(float(scale.scale))
    assert seen == [1024, 1024, 512, 512, 512, 1024, 1024]  # a skipped step starts the count anew
    gradients = [torch.full((2,), 2048.0)]
    scale.unscale_(gradients)
    assert gradients[0].tolist() == [2.0, 2.0]
    other = LossScale(CPU)
    other.load_state_dict(scale.state_dict())
    assert (float(other.scale), int(other.good_steps)) == (1024, 1)


def test_the_scale_stays_a_number_whatever_happens() -> None:
    scale = LossScale(CPU)
    for _ in range(2000):
        scale.update(torch.tensor(False))
    assert 0 < float(scale.scale) < math.inf
