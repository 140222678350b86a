"""One discriminator step and one generator step on given numbers, alone or as one of several ranks; what moved is
written to a file: ``python one_step_of_ranks.py INPUTS OUTPUT``."""

import sys
from pathlib import Path

import torch

from stylegan_fast.distributed import Ranks, joined_ranks
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training.draws import GeneratorInputs, StyleMixing
from stylegan_fast.training.trainer import Trainer

LOD, LR = 0.5, 0.01


def write_inputs(path: Path, batch: int) -> None:
    source = torch.Generator().manual_seed(0)
    torch.save(
        {
            "reals": torch.randn(batch, 3, 16, 16, generator=source),
            "z": torch.randn(batch, 8, generator=source),
            "z2": torch.randn(batch, 8, generator=source),
            "noise": torch.randint(2**62, (batch, 6), generator=source),
            "gp": torch.rand(batch, 1, 1, 1, generator=source),
        },
        path,
    )


def step(inputs: Path, ranks: Ranks) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shape = {"channel_base": 64, "channel_max": 8}
    G, G_ema = (Generator(16, z_dim=8, w_dim=8, mapping_layers=2, **shape) for _ in range(2))
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    trainer = Trainer(G, Discriminator(16, **shape), G_ema, gp_weight=10.0, r2_gamma=1.0, ranks=ranks)
    # Every count-th: as the loader shares images out, which keeps the groups of the minibatch stddev whole.
    given = {name: value[ranks.rank :: ranks.count] for name, value in torch.load(inputs, weights_only=True).items()}
    draws = GeneratorInputs(given["z"], mixing=StyleMixing(given["z2"], 3), noise_seeds=given["noise"])
    trainer.d_step(given["reals"], None, draws, LOD, LR, gp_mixing=given["gp"])
    found = {f"grad.D.{name}": p.grad.clone() for name, p in trainer.D.named_parameters() if p.grad is not None}
    trainer.g_step(draws, LOD, LR)
    found |= {f"grad.G.{name}": p.grad.clone() for name, p in G.named_parameters() if p.grad is not None}
    found |= {f"D.{name}": value for name, value in trainer.D.state_dict().items()}
    return found | {f"G.{name}": value for name, value in G.state_dict().items()}


if __name__ == "__main__":
    with joined_ranks() as ranks:
        torch.save(step(Path(sys.argv[1]), ranks), f"{sys.argv[2]}.{ranks.rank}")
