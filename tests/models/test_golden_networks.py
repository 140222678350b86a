"""Images, styles and scores of the official networks, from their variables."""

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegan_fast.models import Discriminator, Generator, mix_styles, num_layers_at
from tests import golden_data as golden

GENERATORS = ["generator_r64", "generator_cond_r32", "generator_r256"]
DISCRIMINATORS = ["discriminator_r64", "discriminator_cond_r32", "discriminator_r256"]
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def outputs(names: list[str]) -> pytest.MarkDecorator:
    cases = [(name, key) for name in names for key in golden.load(name) if key.startswith("out/")]
    return pytest.mark.parametrize(("name", "key"), cases, ids=[f"{name}-{key[4:]}" for name, key in cases])


def psi_and_cutoff(key: str) -> tuple[float, int]:
    fields = {field[:3]: field[3:] for field in key.split("_")}
    return float(fields["psi"]), int(fields["cut"])


def generator_output(network: Generator, name: str, key: str, dtype: torch.dtype) -> Tensor:
    z, c = golden.tensor(name, "in/z", dtype), golden.labels(name, dtype)
    if key == "out/w":
        return network.mapping.map(z, c)
    if key == "out/dlatents_broadcast":
        return network.mapping(z, c)
    if key.startswith("out/dlatents_trunc"):
        return network.mapping(z, c, *psi_and_cutoff(key))
    truncation = psi_and_cutoff(key) if "trunc" in key else ()
    return network(z, c, *truncation, lod=golden.lod_of(key), noise_mode="const", full_size=True)


def discriminator_output(network: Discriminator, name: str, key: str, dtype: torch.dtype) -> Tensor:
    images, c = golden.tensor(name, "in/images", dtype), golden.labels(name, dtype)
    batch = int(key.partition("first")[2].partition("_")[0] or len(images))
    return network(images[:batch], None if c is None else c[:batch], golden.lod_of(key))


@DTYPES
@outputs(GENERATORS)
def test_generator_draws_the_official_images(name: str, key: str, dtype: torch.dtype, backend: str) -> None:
    ours = generator_output(golden.generator(name, dtype), name, key, dtype)
    assert ours.dtype == dtype
    golden.assert_matches(ours, golden.load(name)[key], golden.FORWARD[dtype], key)


@DTYPES
@outputs(DISCRIMINATORS)
def test_discriminator_gives_the_official_scores(name: str, key: str, dtype: torch.dtype, backend: str) -> None:
    ours = discriminator_output(golden.discriminator(name, dtype), name, key, dtype)
    golden.assert_matches(ours, golden.load(name)[key], golden.FORWARD[dtype], key)


@pytest.mark.parametrize("lod", [1.0, 1.25, 2.0, 3.5, 4.0])
def test_discriminator_scores_small_images_like_enlarged_ones(lod: float, backend: str) -> None:
    network = golden.discriminator("discriminator_r64")
    full = golden.tensor("discriminator_r64", "in/images")
    small = torch.nn.functional.avg_pool2d(full, 2 ** int(lod))
    torch.testing.assert_close(network(small, lod=lod), network(full, lod=lod), rtol=1e-10, atol=1e-10)


def training_ws(key: str) -> Tensor:
    network = golden.generator("generator_r64")
    name = "generator_train_mode_r64"
    ws = network.mapping(golden.tensor(name, "in/z"))
    if "nomix" in key:
        return ws
    fields = key.split("_")
    coin, drawn = float(fields[2][1:]), int(fields[3][3:])
    cutoff = drawn if coin < 0.9 else num_layers_at(64, golden.lod_of(key))
    return mix_styles(ws, network.mapping(golden.tensor(name, "in/z2")), cutoff)


TRAINING = [key for key in golden.load("generator_train_mode_r64") if key.startswith(("out/img", "out/dlatents"))]


@pytest.mark.parametrize("key", TRAINING)
def test_style_mixing_equals_official(key: str, backend: str) -> None:
    ours = training_ws(key)
    if key.startswith("out/img"):
        network = golden.generator("generator_r64")
        ours = network.synthesis(ours, golden.lod_of(key), noise_mode="const", full_size=True)
    golden.assert_matches(ours, golden.load("generator_train_mode_r64")[key], golden.FORWARD[torch.float64], key)


def test_w_avg_follows_one_training_pass_as_officially(backend: str) -> None:
    arrays = golden.load("generator_train_mode_r64")
    network = golden.generator("generator_r64")
    golden.assert_matches(network.mapping.w_avg, arrays["in/dlatent_avg"], 0.0, "dlatent_avg before")
    network(golden.tensor("generator_train_mode_r64", "in/z"), lod=4, update_emas=True)
    golden.assert_matches(network.mapping.w_avg, arrays["out/dlatent_avg_after"], 1e-6, "dlatent_avg after")


def test_layers_in_use_follow_lod_as_officially() -> None:
    rows = golden.load("generator_train_mode_r64")["out/cur_layers_vs_lod"]
    assert [num_layers_at(64, float(lod)) for lod, _ in rows] == list(rows[:, 1].astype(np.int64))


def test_every_training_mode_output_is_compared() -> None:
    outputs = {key for key in golden.load("generator_train_mode_r64") if key.startswith("out/")}
    assert outputs - set(TRAINING) == {"out/dlatent_avg_after", "out/cur_layers_vs_lod"}
