"""The generator as people call it."""

import copy
import json
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stylegan_fast.models import Generator, mix_styles, num_layers_at


def draw(network: Generator, **arguments: object) -> Tensor:
    """Two images of fixed latents."""
    z = torch.randn(2, network.z_dim, generator=torch.Generator().manual_seed(1))
    return network(z, **{"noise_mode": "const", **arguments})


def test_has_the_papers_number_of_parameters_at_1024() -> None:
    with torch.device("meta"):
        network = Generator(1024)
    assert sum(p.numel() for p in network.parameters()) == 26_219_627


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resolution", [8, 16, 128])
def test_draws_any_resolution_and_channel_count(resolution: int, channels: int, backend: str) -> None:
    network = Generator(resolution, channels, z_dim=4, w_dim=4, channel_base=8, channel_max=4, mapping_layers=1)
    assert network.num_ws == network.mapping(torch.randn(2, 4)).shape[1] == num_layers_at(resolution)
    assert draw(network).shape == (2, channels, resolution, resolution)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
def test_official_widths_can_be_built_at_every_resolution(resolution: int) -> None:
    with torch.device("meta"):
        network = Generator(resolution)
    widths = [
        network.synthesis.block(r).to_rgb.in_channels
        for r in (4, 8, 16, 32, 64, 128, 256, 512, 1024)[: network.num_ws // 2]
    ]
    assert widths == [512, 512, 512, 512, 256, 128, 64, 32, 16][: network.num_ws // 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"img_resolution": 48}, "img_resolution is 48, expected a power of two from 8 to 1024"),
        ({"img_resolution": 4}, "img_resolution is 4"),
        ({"img_resolution": 2048}, "img_resolution is 2048"),
        ({"img_resolution": 0}, "img_resolution is 0"),
        ({"img_resolution": 8, "img_channels": 2}, "img_channels is 2, expected 1, 3 or 4"),
        ({"img_resolution": 8, "mapping_layers": -1}, "mapping_layers is -1, expected at least 0"),
        ({"img_resolution": 8, "c_dim": -1}, "c_dim is -1"),
        ({"img_resolution": 8, "w_avg_beta": 1.5}, "w_avg_beta is 1.5"),
    ],
)
def test_impossible_settings_are_refused_by_name(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Generator(**arguments)


def test_starts_as_published(small_generator: Generator) -> None:
    torch.manual_seed(0)
    network = Generator(8, z_dim=256, w_dim=256)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("bias") or name.endswith("noise_strength") or name == "mapping.w_avg":
            assert value.abs().max() == 0, name
        elif name == "synthesis.b4.const":
            assert (value == 1).all()
        elif name.endswith("noise_const"):
            assert value.std() > 0.5
        else:
            std = 100 if name.startswith("mapping.fc") else 1
            assert value.std().item() == pytest.approx(std, rel=0.05), name


def test_seed_before_construction_fixes_the_network(small_generator: Generator) -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(Generator(**small_generator.init_kwargs).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(networks[0].values(), networks[1].values(), strict=True))


def test_init_kwargs_survive_json_and_build_the_same_architecture() -> None:
    network = Generator(16, 1, 6, 7, 2, 32, 8, 3, 9, 0.9)
    again = Generator(**json.loads(json.dumps(network.init_kwargs)))
    again.load_state_dict(network.state_dict())
    assert again.init_kwargs == network.init_kwargs


def test_copies_and_pickles_draw_the_same(small_generator: Generator, backend: str) -> None:
    small_generator.lod = 1.25
    expected = draw(small_generator)
    assert torch.equal(draw(copy.deepcopy(small_generator)), expected)
    assert torch.equal(draw(pickle.loads(pickle.dumps(small_generator))), expected)


@pytest.mark.parametrize(("lod", "size"), [(0, 32), (0.5, 32), (1, 16), (1.99, 16), (2.5, 8), (3, 4)])
def test_images_have_the_size_of_their_lod_and_full_size_repeats_pixels(
    small_generator: Generator, lod: float, size: int, backend: str
) -> None:
    image = draw(small_generator, lod=lod)
    assert image.shape == (2, 3, size, size)
    factor = 32 // size
    repeated = image.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    torch.testing.assert_close(draw(small_generator, lod=lod, full_size=True), repeated, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lod", [-0.1, 3.01, float("nan"), torch.tensor(4.0)])
def test_impossible_lod_is_refused(small_generator: Generator, lod: float | Tensor) -> None:
    with pytest.raises(ValueError, match="expected 0 to 3 at resolution 32"):
        draw(small_generator, lod=lod)


@pytest.mark.parametrize("lod", [0.0, 0.25, 1.0, 2.75, 3.0])
def test_lod_may_be_a_tensor(small_generator: Generator, lod: float, backend: str) -> None:
    expected = draw(small_generator, lod=lod)
    torch.testing.assert_close(draw(small_generator, lod=torch.tensor(lod)), expected, rtol=0, atol=1e-6)
    small_generator.lod = lod
    assert torch.equal(draw(small_generator), expected)


def test_fade_is_continuous_at_whole_lods(small_generator: Generator, backend: str) -> None:
    # Just below lod 1 the picture is that of lod 1, enlarged.
    below, at = draw(small_generator, lod=1 - 1e-6), draw(small_generator, lod=1, full_size=True)
    torch.testing.assert_close(below, at, rtol=0, atol=1e-4)


def test_layers_not_in_use_get_no_gradient(small_generator: Generator, backend: str) -> None:
    draw(small_generator, lod=1.5).sum().backward()
    used = {name for name, p in small_generator.named_parameters() if p.grad is not None}
    blocks = {f"b{r}": any(f".b{r}." in name for name in used) for r in (4, 8, 16, 32)}
    assert blocks == {"b4": True, "b8": True, "b16": True, "b32": False}
    images = {r: f"synthesis.b{r}.to_rgb.weight" in used for r in (4, 8, 16)}
    assert images == {4: False, 8: True, 16: True}


def test_noise_modes(small_generator: Generator, backend: str) -> None:
    for name, parameter in small_generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    z = torch.randn(1, 8).repeat(2, 1)

    def noisy(mode: str, seed: int | None = None) -> Tensor:
        source = None if seed is None else torch.Generator().manual_seed(seed)
        return small_generator(z, noise_mode=mode, noise_generator=source)

    const, none = noisy("const"), noisy("none")
    assert torch.equal(const[0], const[1])
    assert torch.equal(none[0], none[1])
    assert not torch.allclose(const, none)
    random = noisy("random")
    assert not torch.allclose(random[0], random[1])
    assert not torch.equal(noisy("random"), random)
    assert torch.equal(noisy("random", 4), noisy("random", 4))
    assert not torch.equal(noisy("random", 4), noisy("random", 5))


@pytest.mark.parametrize("lod", [0.0, 1.5])
def test_random_noise_is_a_seed_for_each_sample_and_layer_in_use(
    lod: float, small_generator: Generator, backend: str
) -> None:
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda _, args, kwargs: seen.update({name: kwargs["noise_seed"]})

    for name, module in small_generator.synthesis.named_modules():
        if name.endswith("epilogue"):
            module.register_forward_pre_hook(note(name), with_kwargs=True)
    source = torch.Generator().manual_seed(3)
    small_generator(torch.randn(3, 8), lod=lod, noise_generator=source)
    seeds = torch.stack(list(seen.values()))
    assert seeds.shape == (2 * (4 - int(lod)), 3)
    assert seeds.dtype == torch.int64
    assert seeds.unique().numel() == seeds.numel()
    # One call of the generator for all of them, and the first samples' do not depend on how many follow.
    expected = torch.randint(2**63 - 1, (2, len(seeds)), generator=source.manual_seed(3))
    assert torch.equal(seeds[:, :2].t(), expected)


def test_fewer_images_of_a_generator_have_the_noise_of_more(small_generator: Generator, backend: str) -> None:
    for name, parameter in small_generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    network, z = small_generator.double(), torch.randn(3, 8, dtype=torch.float64)
    one, three = (network(z[:n], noise_generator=torch.Generator().manual_seed(8)) for n in (1, 3))
    torch.testing.assert_close(one[0], three[0])


def test_noise_keeps_the_dtype_of_the_network(small_generator: Generator, backend: str) -> None:
    ws, source = small_generator.mapping(torch.randn(1, 8)), torch.Generator()
    image = small_generator.synthesis(ws, noise_generator=source.manual_seed(1))
    exact = small_generator.double().synthesis(ws.double(), noise_generator=source.manual_seed(1))
    assert (image.dtype, exact.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(image, exact.float(), rtol=1e-3, atol=1e-3)


def test_unknown_noise_mode_is_refused(small_generator: Generator) -> None:
    with pytest.raises(ValueError, match="'off', expected one of random, const, none"):
        draw(small_generator, noise_mode="off")


def test_wrong_latents_are_refused_by_shape(small_generator: Generator) -> None:
    with pytest.raises(ValueError, match=r"z has shape \[2, 9\], expected \[N, 8\]"):
        small_generator(torch.zeros(2, 9))
    with pytest.raises(ValueError, match=r"ws has shape \[2, 8, 8\], expected \[N, 8, 12\]"):
        small_generator.synthesis(torch.zeros(2, 8, 8))
    with pytest.raises(ValueError, match="no classes"):
        small_generator(torch.zeros(2, 8), torch.zeros(2, 3))
    assert small_generator(torch.zeros(2, 8), torch.zeros(2, 0)).shape == (2, 3, 32, 32)


def test_class_changes_the_image_and_is_required(backend: str) -> None:
    network = Generator(8, z_dim=4, w_dim=4, c_dim=3, channel_base=8, channel_max=4, mapping_layers=2)
    z = torch.randn(1, 4).repeat(3, 1)
    images = network(z, torch.eye(3), noise_mode="const")
    assert not torch.allclose(images[0], images[1])
    with pytest.raises(ValueError, match=r"c is None, expected one-hot classes of shape \[3, 3\]"):
        network(z)
    with pytest.raises(ValueError, match=r"c is \[1, 3\]"):
        network(z, torch.eye(3)[:1])


def test_truncation_pulls_the_first_layers_to_w_avg(small_generator: Generator) -> None:
    mapping = small_generator.mapping
    mapping.w_avg.normal_()
    z = torch.randn(2, 8)
    ws = mapping(z)
    truncated = mapping(z, truncation_psi=0.25, truncation_cutoff=3)
    torch.testing.assert_close(truncated[:, :3], mapping.w_avg + 0.25 * (ws[:, :3] - mapping.w_avg))
    assert torch.equal(truncated[:, 3:], ws[:, 3:])
    torch.testing.assert_close(mapping(z, truncation_psi=0), mapping.w_avg.expand(2, 8, 12))
    assert torch.equal(mapping(z, truncation_psi=0.5, truncation_cutoff=0), ws)


def test_w_avg_moves_only_when_asked(small_generator: Generator) -> None:
    mapping = small_generator.mapping
    z = torch.randn(4, 8)
    ws = mapping(z)
    assert mapping.w_avg.abs().max() == 0
    mapping(z, update_emas=True)
    torch.testing.assert_close(mapping.w_avg, 0.005 * ws[:, 0].mean(dim=0))
    assert not mapping.w_avg.requires_grad


def test_mixing_takes_layers_below_the_cutoff_from_the_first() -> None:
    a, b = torch.zeros(2, 8, 3), torch.ones(2, 8, 3)
    for cutoff in (0, 3, 8):
        for form in (cutoff, torch.tensor(cutoff)):
            mixed = mix_styles(a, b, form)
            assert torch.equal(mixed[:, :cutoff], a[:, :cutoff])
            assert torch.equal(mixed[:, cutoff:], b[:, cutoff:])


@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"]
)
def test_draws_in_the_dtype_of_ws_and_the_layout_of_the_weights(
    small_generator: Generator, memory_format: torch.memory_format, backend: str
) -> None:
    network = small_generator.to(memory_format=memory_format)
    ws = network.mapping(torch.randn(2, 8))
    exact = copy.deepcopy(network).double().synthesis(ws.double(), noise_mode="const")
    scale = exact.abs().max()
    for dtype, allowed in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        image = network.synthesis(ws.to(dtype), noise_mode="const")
        assert image.dtype == dtype
        assert (image - exact).abs().max() <= allowed * scale


def test_empty_batch_gives_no_images(small_generator: Generator, backend: str) -> None:
    assert small_generator(torch.zeros(0, 8)).shape == (0, 3, 32, 32)
