"""The discriminator's view of how varied a minibatch is."""

import torch
from torch import Tensor, nn

from stylegan_fast.ops.arguments import memory_format


class MinibatchStdDev(nn.Module):
    """Appends the standard deviation over a group of samples as extra channels.

    Of G samples n, n + N/G, n + 2N/G, ... (a *strided* group: sample n is in group ``n mod (N/G)``)::

        s = mean_chw(sqrt(var_group(x) + 1e-8))        (biased variance; mean over channels and pixels)
        y = concat(x, s broadcast to [N, num_channels, H, W])

    "Progressive Growing of GANs" (arXiv 1710.10196), section 3. No gain, no parameters. A group of one sample has
    s = 1e-4. With `num_channels` F > 1 the C channels are cut into F consecutive runs, each with its own s.

    Args:
        group_size: samples per group, G. Where it does not divide N, the largest divisor of N below it is used (N = 6
            with 4: groups of 3; N = 5: single samples), so any batch size works.
        num_channels: channels to append, F; must divide C.

    Shapes: x ``[N, C, H, W]`` -> y ``[N, C + num_channels, H, W]``, dtype of x; statistics in float32 for 16-bit x.

    Raises:
        ValueError: C is not a multiple of `num_channels`.

        >>> stddev = MinibatchStdDev(group_size=4)
        >>> y = stddev(torch.randn(8, 512, 4, 4))
        >>> y.shape                                                     # torch.Size([8, 513, 4, 4])
    """

    def __init__(self, group_size: int = 4, num_channels: int = 1) -> None:
        super().__init__()
        if group_size < 1 or num_channels < 1:
            raise ValueError(
                f"MinibatchStdDev: group_size and num_channels must be at least 1, got {group_size} and {num_channels}"
            )
        self.group_size = group_size
        self.num_channels = num_channels

    def group_size_for(self, batch: int) -> int:
        """The size of the groups a batch of this many samples is cut into."""
        return max([1, *[g for g in range(2, min(self.group_size, batch) + 1) if batch % g == 0]])

    def deviation(self, x: Tensor) -> Tensor:
        """s of every sample, ``[N, num_channels]``, in the dtype of its statistics."""
        n, c, h, w = x.shape
        if c % self.num_channels != 0:
            raise ValueError(f"MinibatchStdDev: x has {c} channels, expected a multiple of {self.num_channels}")
        group = self.group_size_for(n)
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        grouped = exact.reshape(group, n // group, self.num_channels, c // self.num_channels, h, w)
        deviation = ((grouped - grouped.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt()
        return deviation.mean(dim=(2, 3, 4)).repeat(group, 1)

    def forward(self, x: Tensor) -> Tensor:
        appended = self.deviation(x).to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.cat([x, appended], dim=1).contiguous(memory_format=memory_format(x))

    def extra_repr(self) -> str:
        return f"group_size={self.group_size}, num_channels={self.num_channels}"
