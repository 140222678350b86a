"""A small generator whose every part has an effect on the picture."""

import torch

from stylegan_fast.models import Generator


def small_generator(resolution: int = 16, noise_strength: float = 0.3, seed: int = 0) -> Generator:
    """Random weights, noise in every layer, a mean w other than 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        G = Generator(resolution, z_dim=8, w_dim=8, channel_base=64, channel_max=8, mapping_layers=2)
        with torch.no_grad():
            G.mapping.w_avg.normal_()
            for name, parameter in G.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.fill_(noise_strength)
    return G.eval().requires_grad_(False)
