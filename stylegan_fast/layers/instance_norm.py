"""torch.nn.InstanceNorm2d, computed by the fused op."""

import torch
from torch import Tensor, nn

from stylegan_fast.ops.adain import adain


class InstanceNorm2d(nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` with the same arguments, state dict and results, computed by the fused op.

    ::

        y = weight[c] * (x - mean_hw(x)) / sqrt(var_hw(x) + eps) + bias[c]        (biased variance)

    Gain convention: torch's: `weight` and `bias` (with ``affine=True``) start at 1 and 0; without them y has unit
    variance. With ``track_running_stats=True`` the running mean and unbiased variance are updated in training and used
    in evaluation, exactly as torch does it. The default `eps` is torch's 1e-5 (StyleGAN's own networks use 1e-8).

    Shapes: x ``[N, C, H, W]`` or ``[C, H, W]`` -> y of the same shape, dtype and memory format. Unlike torch's, 16-bit
    x may meet float32 parameters.

    Raises:
        ValueError: as torch's does (other ranks, other channel counts, a single pixel in training).

        >>> norm = InstanceNorm2d(64, affine=True)
        >>> norm.load_state_dict(torch.nn.InstanceNorm2d(64, affine=True).state_dict())
        >>> y = norm(torch.randn(4, 64, 32, 32))
    """

    def _apply_instance_norm(self, x: Tensor) -> Tensor:
        uses_running_stats = self.track_running_stats and not self.training
        # torch refuses a single pixel, whose variance is 0, with an error of its own.
        if uses_running_stats or x.shape[2] * x.shape[3] == 1:
            return super()._apply_instance_norm(x)
        if self.track_running_stats:
            self._update_running_stats(x)
        return adain(x, self.weight, self.bias, eps=self.eps)

    @torch.no_grad()
    def _update_running_stats(self, x: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        momentum = 0.0 if self.momentum is None else self.momentum
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        variance, mean = torch.var_mean(exact, dim=(2, 3), correction=1)
        self.running_mean.lerp_(mean.mean(0).to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.mean(0).to(self.running_var.dtype), momentum)
