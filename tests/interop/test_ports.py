"""Checkpoints of the two PyTorch ports: our networks draw what the port's formulas draw, in float64."""

from pathlib import Path

import pytest
import torch

import stylegan_fast
from stylegan_fast.errors import UserError
from stylegan_fast.interop.networks import read_foreign
from stylegan_fast.models import Generator

from . import port_arithmetic as port

STAGES, WIDTHS = 6, [8, 8, 8, 8, 6, 3]  # 4 to 128; min(2 * 192 / r, 8)
RESOLUTION = 128
# Translation is in float32: factors such as sqrt(2) are rounded to it.
TOLERANCE = 2e-6


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def doubled(state: port.State) -> port.State:
    return {name: tensor.double() for name, tensor in state.items()}


@pytest.fixture
def ros(tmp_path: Path) -> tuple[Path, port.State, port.State]:
    g, d = port.ros_states(RESOLUTION, WIDTHS, 16, 3, activated=True)
    path = tmp_path / "train_step-6.model"
    older = {name: tensor + 1 for name, tensor in g.items()}
    torch.save({"generator": older, "discriminator": d, "g_running": g, "g_optimizer": {"state": {}}}, path)
    return path, doubled(g), doubled(d)


def noise_of(G: Generator) -> list[torch.Tensor]:
    return [
        layer.noise_const
        for r in (4 << i for i in range(STAGES))
        for layer in list(G.synthesis.block(r).children())[:2]
    ]


def test_rosinality_checkpoint_draws_the_ports_pictures(ros: tuple[Path, port.State, port.State]) -> None:
    path, g, _ = ros
    G = stylegan_fast.load_generator(path).double()
    assert G.img_resolution == RESOLUTION
    z = torch.randn(2, 16, dtype=torch.float64)
    theirs = port.ros_generator(g, z, noise_of(G)[::2], 3)
    assert_close(G(z, noise_mode="const"), theirs)
    assert not torch.allclose(stylegan_fast.load_generator(path, "G").double()(z, noise_mode="const"), theirs)
    # The port has no mean w in its files; truncation needs one.
    w = G.mapping.map(torch.randn(4096, 16, dtype=torch.float64))
    assert (G.mapping.w_avg - w.mean(0)).abs().max() < 6 * w.std(0).max() / 4096**0.5
    assert "w_avg" in " ".join(read_foreign(path).switches)


@pytest.mark.parametrize("switch", ["norm_eps", "bias_before_blur", "shared_noise"])
def test_every_switch_of_the_rosinality_port_is_needed(switch: str, ros: tuple[Path, port.State, port.State]) -> None:
    path, _, _ = ros
    G = stylegan_fast.load_generator(path)
    named = " ".join(read_foreign(path).switches)
    assert f"{switch}=" in named
    other = Generator(**{name: value for name, value in G.init_kwargs.items() if name != switch}).eval()
    state = G.state_dict()
    if switch == "bias_before_blur":
        for name in [name for name in state if name.endswith("layer0.conv.bias")]:
            state[name.replace("conv.bias", "epilogue.bias")] = state.pop(name)
    other.load_state_dict(state)
    z = torch.randn(2, 16)
    mode = "random" if switch == "shared_noise" else "const"
    pictures = [network(z, noise_mode=mode, noise_generator=torch.Generator().manual_seed(0)) for network in (G, other)]
    assert (pictures[0] - pictures[1]).abs().max() > 10 * TOLERANCE * pictures[0].abs().max()


def test_random_noise_of_the_rosinality_port_is_shared_by_both_layers(ros: tuple[Path, port.State, port.State]) -> None:
    path, g, _ = ros
    G = stylegan_fast.load_generator(path).double()
    z = torch.randn(2, 16, dtype=torch.float64)
    images = G(z, noise_mode="random", noise_generator=torch.Generator().manual_seed(3))
    seeds = torch.randint(2**63 - 1, (2, 2 * STAGES), generator=torch.Generator().manual_seed(3)).t().contiguous()
    noise = [stylegan_fast.philox_normal(seeds[2 * i], 4 << i, 4 << i).double() for i in range(STAGES)]
    assert_close(images, port.ros_generator(g, z, noise, 3))


@pytest.mark.parametrize("activated", [True, False])
def test_rosinality_discriminator_gives_the_ports_scores(activated: bool, tmp_path: Path) -> None:
    g, d = port.ros_states(RESOLUTION, WIDTHS, 16, 3, activated)
    path = tmp_path / "d.model"
    torch.save({"discriminator": d, "generator": g}, path, _use_new_zipfile_serialization=False)
    D = stylegan_fast.load_discriminator(path).double()
    images = torch.randn(6, 3, RESOLUTION, RESOLUTION, dtype=torch.float64)
    assert_close(D(images), port.ros_discriminator(doubled(d), images, STAGES, activated))
    assert stylegan_fast.load_generator(path).img_resolution == RESOLUTION  # without g_running, the generator itself


def test_a_checkpoint_may_hold_the_same_tensors_twice(tmp_path: Path) -> None:
    g, _ = port.ros_states(RESOLUTION, WIDTHS, 16, 3, activated=True)
    torch.save({"generator": g, "g_running": g}, tmp_path / "g.pt")  # stored once
    assert stylegan_fast.load_generator(tmp_path / "g.pt", "G").img_resolution == RESOLUTION


def test_bare_state_dicts_of_a_data_parallel_module_are_read(tmp_path: Path) -> None:
    g, _ = port.ros_states(RESOLUTION, WIDTHS, 16, 3, activated=True)
    torch.save({f"module.{name}": tensor for name, tensor in g.items()}, tmp_path / "g.pt")
    assert stylegan_fast.load_generator(tmp_path / "g.pt").w_dim == 16


def test_huangzh13_checkpoints_draw_the_ports_pictures_and_give_its_scores(tmp_path: Path) -> None:
    g, d = port.hua_states(WIDTHS, 12, 16, 5, 4)
    torch.save(g, tmp_path / "GAN_GEN_SHADOW_5_1.pth")
    torch.save(d, tmp_path / "GAN_DIS_5_1.pth")
    G = stylegan_fast.load_generator(tmp_path / "GAN_GEN_SHADOW_5_1.pth").double()
    D = stylegan_fast.load_discriminator(tmp_path / "GAN_DIS_5_1.pth").double()
    assert (G.z_dim, G.w_dim, G.c_dim) == (12, 16, 5)
    assert torch.equal(G.mapping.w_avg, g["truncation.avg_latent"].double())
    z, classes = torch.randn(4, 12, dtype=torch.float64), torch.tensor([0, 3, 1, 3])
    one_hot = torch.nn.functional.one_hot(classes, 5)
    images = G(z, one_hot, noise_mode="const")
    assert_close(images, port.hua_generator(doubled(g), z, classes, noise_of(G), STAGES, 4))
    images = torch.randn(8, 3, RESOLUTION, RESOLUTION, dtype=torch.float64)
    assert_close(D(images), port.hua_discriminator(doubled(d), images, STAGES))


def test_what_the_huangzh13_port_can_be_told_and_ours_cannot_is_told(tmp_path: Path) -> None:
    g, d = port.hua_states(WIDTHS, 12, 16, 5, 4)
    path = tmp_path / "net.pth"
    torch.save({name: tensor for name, tensor in g.items() if "kernel" not in name}, path)
    with pytest.raises(UserError, match="blur"):
        stylegan_fast.load_generator(path)
    torch.save({**d, "embeddings.0.weight": torch.zeros(2, 3)}, path)
    with pytest.raises(UserError, match="classes as image channels"):
        stylegan_fast.load_discriminator(path)
    torch.save({**g, "g_synthesis.init_block.const": torch.zeros(1, 3, 4, 4)}, path)
    with pytest.raises(UserError, match="has shape"):
        stylegan_fast.load_generator(path)
