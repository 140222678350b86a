"""The mapping network: from latents z to intermediate latents w."""

import math

import torch
from torch import Tensor, nn

from stylegan_fast.layers import EqualLinear, PixelNorm


class MappingNetwork(nn.Module):
    """z (and class) to w: pixel norm, then fully connected layers with leaky ReLU (arXiv 1812.04948, figure 1b).

    ::

        x = pixel_norm(z)                               without classes
        x = pixel_norm(concat(z, c @ embedding))        with classes; embedding [c_dim, z_dim]
        x = leaky_relu(fc_i(x), 0.2)                    mapping_layers times, the last one too
        ws[n, i] = x[n]                                 for each of the num_ws style layers

    The fully connected layers have gain sqrt(2) and learning-rate multiplier 0.01.

    `w_avg` [w_dim] is the running mean of w that truncation pulls towards: ``ws[:, :cutoff] = w_avg + psi * (ws -
    w_avg)`` (appendix B).

    Args:
        z_dim, c_dim, w_dim: widths of the latent, of the one-hot class (0: none) and of w.
        num_ws: copies of w to return, one per style layer of the synthesis network.
        num_layers: fully connected layers; with 0, w is what the pixel norm gives, so `w_dim` must be `z_dim`, or twice
            as much with classes.
        width: of the layers but the last; None is `w_dim`.
        w_avg_beta: share of `w_avg` that each update keeps.
        lr_multiplier: see `EqualLinear`.

    Raises:
        ValueError: `w_dim` is not what a network without layers gives.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int,
        num_layers: int = 8,
        width: int | None = None,
        w_avg_beta: float = 0.995,
        lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim
        self.num_ws = num_ws
        self.num_layers = num_layers
        self.w_avg_beta = w_avg_beta
        self.embedding = nn.Parameter(torch.randn(c_dim, z_dim)) if c_dim > 0 else None
        self.norm = PixelNorm()
        inputs = 2 * z_dim if c_dim > 0 else z_dim
        for index in range(num_layers):
            outputs = w_dim if index == num_layers - 1 else width or w_dim
            layer = EqualLinear(inputs, outputs, gain=math.sqrt(2), lr_multiplier=lr_multiplier, activation="lrelu")
            self.add_module(f"fc{index}", layer)
            inputs = outputs
        if inputs != w_dim:
            raise ValueError(f"mapping: w_dim is {w_dim}, expected {inputs} because there are no layers")
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_emas: bool = False,
    ) -> Tensor:
        """Maps latents.

        Args:
            z: ``[N, z_dim]``.
            c: ``[N, c_dim]`` one-hot, or None for a network without classes.
            truncation_psi: 1 leaves w as it is, 0 gives the mean picture.
            truncation_cutoff: truncate this many first layers; None truncates all.
            update_emas: let `w_avg` follow this batch's mean (in training only).

        Returns:
            ws ``[N, num_ws, w_dim]``.

        Raises:
            ValueError: z or c has the wrong shape, or c is missing.
        """
        w = self.map(z, c)
        if update_emas:
            self.update_average(w.detach().to(self.w_avg.dtype).mean(dim=0))
        ws = w[:, None, :].repeat(1, self.num_ws, 1)
        return self.truncate(ws, truncation_psi, truncation_cutoff)

    @torch.no_grad()
    def update_average(self, batch_mean: Tensor) -> None:
        """Let `w_avg` follow the mean w of a batch, ``[w_dim]``: ``w_avg = lerp(batch_mean, w_avg, w_avg_beta)``."""
        self.w_avg.copy_(batch_mean.lerp(self.w_avg, self.w_avg_beta))

    def map(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """w ``[N, w_dim]`` of z and c, neither copied for each layer nor truncated."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"mapping: z has shape {list(z.shape)}, expected [N, {self.z_dim}]")
        x = z
        if self.embedding is not None:
            if c is None or c.shape != (z.shape[0], self.c_dim):
                got = "None" if c is None else list(c.shape)
                raise ValueError(f"mapping: c is {got}, expected one-hot classes of shape {[z.shape[0], self.c_dim]}")
            x = torch.cat([z, c.to(z.dtype) @ self.embedding.to(z.dtype)], dim=1)
        elif c is not None and c.numel() > 0:
            raise ValueError(f"mapping: c has shape {list(c.shape)}, expected None because this network has no classes")
        x = self.norm(x)
        for index in range(self.num_layers):
            x = self.get_submodule(f"fc{index}")(x)
        return x

    def truncate(self, ws: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
        """Pulls the first `cutoff` layers of ws ``[N, num_ws, w_dim]`` (None: all) towards `w_avg`."""
        if psi == 1 or cutoff == 0:
            return ws
        truncated = self.w_avg.to(ws.dtype).lerp(ws[:, :cutoff], psi)
        return truncated if cutoff is None else torch.cat([truncated, ws[:, cutoff:]], dim=1)

    def extra_repr(self) -> str:
        return f"z_dim={self.z_dim}, c_dim={self.c_dim}, w_dim={self.w_dim}, num_ws={self.num_ws}"


def mix_styles(ws_a: Tensor, ws_b: Tensor, cutoff: int | Tensor) -> Tensor:
    """Style mixing: layers before `cutoff` from `ws_a`, the others from `ws_b` (arXiv 1812.04948, section 3.1).

    Args:
        ws_a, ws_b: ``[N, num_ws, w_dim]``.
        cutoff: a layer index, 0 (all of b) to num_ws (all of a); a 0-d integer tensor stays on its device.

    Returns:
        ``[N, num_ws, w_dim]``.
    """
    layers = torch.arange(ws_a.shape[1], device=ws_a.device)
    return torch.where((layers < cutoff)[:, None], ws_a, ws_b)
