"""Files people keep, and files strangers made."""

import functools
import json
import os
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from stylegan_fast.errors import UserError
from stylegan_fast.models import (
    Discriminator,
    Generator,
    load_discriminator,
    load_generator,
    network_config,
    save_networks,
)


@pytest.fixture
def saved(tmp_path: Path, small_generator: Generator, small_discriminator: Discriminator) -> Path:
    path = tmp_path / "network-000012.safetensors"
    other = Generator(**small_generator.init_kwargs)
    save_networks(path, G_ema=small_generator, G=other, D=small_discriminator, lod=1.5, extra={"kimg": 12})
    return path


def rewritten(path: Path, **changes: object) -> Path:
    """The file with entries of its configuration replaced; dicts are merged."""
    config = network_config(path)
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    metadata = {"format": "stylegan_fast.network", "version": "1", "config": json.dumps(config)}
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)
    return path


def the_error(path: Path, **arguments: str) -> str:
    """The one line a user would read."""
    with pytest.raises(UserError) as caught:
        load_generator(path, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_loaded_networks_compute_what_the_saved_ones_did(
    saved: Path, small_generator: Generator, small_discriminator: Discriminator, backend: str
) -> None:
    G, D = load_generator(saved), load_discriminator(saved)
    assert not G.training
    assert not D.training
    assert G.lod == D.lod == 1.5
    assert G.init_kwargs == small_generator.init_kwargs
    assert D.init_kwargs == small_discriminator.init_kwargs
    z = torch.randn(2, 8)
    image = G(z, noise_mode="const")
    assert image.shape == (2, 3, 16, 16)
    assert torch.equal(image, small_generator(z, lod=1.5, noise_mode="const"))
    assert torch.equal(D(image), small_discriminator(image, lod=1.5))


def test_training_and_average_generators_are_told_apart(saved: Path, small_generator: Generator) -> None:
    ema, training = load_generator(saved), load_generator(saved, which="G")
    assert torch.equal(ema.synthesis.b8.layer1.conv.weight, small_generator.synthesis.b8.layer1.conv.weight)
    assert not torch.equal(ema.synthesis.b8.layer1.conv.weight, training.synthesis.b8.layer1.conv.weight)


def test_loading_leaves_the_random_numbers_alone(saved: Path) -> None:
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    load_generator(saved)
    assert torch.equal(torch.randn(4), expected)


def test_config_returns_what_was_added(saved: Path) -> None:
    config = network_config(saved)
    assert config["kimg"] == 12
    assert config["lod"] == 1.5


def test_run_directory_means_its_latest_network(saved: Path, small_generator: Generator) -> None:
    save_networks(saved.parent / "network-000100.safetensors", G_ema=small_generator, extra={"kimg": 100})
    (saved.parent / "network-999999.safetensors.partial").touch()
    assert network_config(saved.parent)["kimg"] == 100


def test_half_precision_files_load_as_float32(saved: Path) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        metadata = file.metadata()
    tensors = {name: tensor.half() for name, tensor in safetensors.torch.load_file(saved).items()}
    safetensors.torch.save_file(tensors, saved, metadata)
    assert {p.dtype for p in load_generator(saved).parameters()} == {torch.float32}


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_network_file_has_the_usual_permissions(saved: Path) -> None:
    ordinary = saved.parent / "ordinary"
    ordinary.touch()
    assert saved.stat().st_mode == ordinary.stat().st_mode


def test_failed_save_leaves_the_old_file_and_no_litter(
    saved: Path, small_generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_networks(saved, G_ema=small_generator)
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_extra_may_not_replace_what_is_always_there(tmp_path: Path, small_generator: Generator) -> None:
    with pytest.raises(ValueError, match="extra has 'lod'"):
        save_networks(tmp_path / "a.safetensors", G_ema=small_generator, extra={"lod": 3})


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    assert "no such network file" in the_error(tmp_path / "none.safetensors")


def test_folder_without_networks_is_one_line(tmp_path: Path) -> None:
    assert "network-*.safetensors" in the_error(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.3, 0.9999])
def test_truncated_file_is_one_line(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    assert "not a whole safetensors" in the_error(saved)


@pytest.mark.parametrize("content", [b"\x80\x04\x95", b"PK\x03\x04" + bytes(100), b"\xff" * 64])
def test_file_of_another_format_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    assert "not a whole safetensors" in the_error(path)


def test_safetensors_of_another_program_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    assert "not a stylegan_fast.network" in the_error(path)


def test_header_that_claims_more_than_the_file_holds_is_one_line(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "not a whole safetensors" in the_error(path)


def test_newer_version_is_one_line(saved: Path) -> None:
    metadata = {"format": "stylegan_fast.network", "version": "9", "config": "{}"}
    safetensors.torch.save_file(safetensors.torch.load_file(saved), saved, metadata)
    assert "version '9'" in the_error(saved)


@pytest.mark.parametrize(
    "config", ["", "[]", "{}", '{"G": 3}', "[" * 100_000, '{"G": {}, "lod": "x"}', '{"G": {}, "D": 1}']
)
def test_broken_configuration_is_one_line(saved: Path, config: str) -> None:
    metadata = {"format": "stylegan_fast.network", "version": "1", "config": config}
    safetensors.torch.save_file(safetensors.torch.load_file(saved), saved, metadata)
    assert "configuration" in the_error(saved) or "lod" in the_error(saved)


@pytest.mark.parametrize("lod", [-1, 3.5, 1e300, float("nan"), float("inf"), True, None])
def test_impossible_lod_is_one_line(saved: Path, lod: object) -> None:
    assert "lod is" in the_error(rewritten(saved, lod=lod))


@pytest.mark.parametrize(
    "settings",
    [
        {"img_resolution": 48},
        {"img_resolution": 2048},
        {"img_resolution": 32.0},
        {"img_resolution": "32"},
        {"img_channels": 2},
        {"mapping_layers": 10**9},
        {"mapping_layers": True},
        {"z_dim": 0},
        {"z_dim": -8},
        {"c_dim": -1},
        {"channel_base": 10**12},
        {"w_avg_beta": float("nan")},
        {"w_avg_beta": "0.9"},
        {"self": 1},
        {"loader": "os.system"},
    ],
)
def test_hostile_setting_is_one_line(saved: Path, settings: dict) -> None:
    the_error(rewritten(saved, G=settings))


@pytest.mark.parametrize(
    "settings", [{"channel_max": 1 << 20, "channel_base": 1 << 20}, {"z_dim": 1 << 20}, {"w_dim": 1 << 20}]
)
def test_network_larger_than_its_file_is_refused_before_it_is_built(
    saved: Path, settings: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten(saved, G=settings)
    built_on = []
    original = Generator.__init__

    @functools.wraps(original)
    def recording(self: Generator, *args: object, **kwargs: object) -> None:
        built_on.append(torch.get_default_device().type)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Generator, "__init__", recording)
    assert "expected" in the_error(saved)
    assert built_on == ["meta"]


def test_missing_tensor_is_named(saved: Path) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(saved)
    del tensors["G_ema.synthesis.b4.const"]
    safetensors.torch.save_file(tensors, saved, metadata)
    assert "lacks tensor 'G_ema.synthesis.b4.const'" in the_error(saved)


def test_unknown_tensor_is_named(saved: Path) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(saved) | {"G_ema.mapping.fc9.weight": torch.zeros(2)}
    safetensors.torch.save_file(tensors, saved, metadata)
    assert "unknown tensor 'G_ema.mapping.fc9.weight'" in the_error(saved)


def test_integer_tensor_is_named(saved: Path) -> None:
    with safetensors.safe_open(saved, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(saved)
    tensors["G_ema.mapping.w_avg"] = torch.zeros(12, dtype=torch.int32)
    safetensors.torch.save_file(tensors, saved, metadata)
    assert "'G_ema.mapping.w_avg' is I32" in the_error(saved)


def test_network_the_file_lacks_is_named(tmp_path: Path, small_generator: Generator) -> None:
    path = tmp_path / "only-ema.safetensors"
    save_networks(path, G_ema=small_generator)
    assert "does not contain G" in the_error(path, which="G")
    with pytest.raises(UserError, match="does not contain D"):
        load_discriminator(path)


def test_device_that_is_not_there_is_one_line(saved: Path) -> None:
    assert "device" in the_error(saved, device="toaster")
    if not torch.cuda.is_available():
        assert "cuda" in the_error(saved, device="cuda")
