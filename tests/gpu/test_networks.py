"""Whole networks on a CUDA device: the official images, autocast, a captured generator, steps and a run of training."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stylegan_fast.cuda_graph import EAGER_CALLS
from stylegan_fast.models import Discriminator, Generator, convolution, load_generator
from stylegan_fast.ops import adain, bias_act, filter2d, setup_filter, use_backend
from stylegan_fast.training.capture import CapturedSteps
from stylegan_fast.training.draws import GeneratorInputs
from stylegan_fast.training.trainer import Trainer
from tests import golden_data as golden
from tests.command_lines import RUN, call
from tests.models import test_golden_networks as official
from tests.training import test_capture as static_steps

from .device import DEVICE, back, there

pytestmark = pytest.mark.gpu


def on_the_device(network: nn.Module) -> Any:
    """Moves a network, and from then on whatever it is called with."""

    def move_arguments(_: nn.Module, positional: tuple, named: dict) -> tuple[tuple, dict]:
        return tuple(there(list(positional))), there(named)

    for module in (network, getattr(network, "mapping", None)):
        if module is not None:
            module.register_forward_pre_hook(move_arguments, with_kwargs=True)
    return network.to(DEVICE)


@official.DTYPES
@official.outputs(official.GENERATORS)
def test_generator_draws_the_official_images(name: str, key: str, dtype: torch.dtype) -> None:
    network = on_the_device(golden.generator(name, dtype))
    if key == "out/w":  # not a call of a module
        ours = network.mapping.map(there(golden.tensor(name, "in/z", dtype)), there(golden.labels(name, dtype)))
    else:
        ours = official.generator_output(network, name, key, dtype)
    assert ours.device.type == DEVICE.type
    golden.assert_matches(back(ours), golden.load(name)[key], golden.FORWARD[dtype], key)


@official.DTYPES
@official.outputs(official.DISCRIMINATORS)
def test_discriminator_gives_the_official_scores(name: str, key: str, dtype: torch.dtype) -> None:
    ours = official.discriminator_output(on_the_device(golden.discriminator(name, dtype)), name, key, dtype)
    assert ours.device.type == DEVICE.type
    golden.assert_matches(back(ours), golden.load(name)[key], golden.FORWARD[dtype], key)


def small_generator() -> Generator:
    torch.manual_seed(0)
    G = Generator(32, z_dim=16, w_dim=16, channel_base=512, channel_max=32, mapping_layers=2)
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    return G


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_leaves_the_dtype_of_x_and_the_numbers(dtype: torch.dtype) -> None:
    parameters = there([torch.randn(2, 5), torch.randn(2, 5)])
    for x in (there(torch.randn(2, 5, 8, 8)), there(torch.randn(2, 5, 8, 8)).to(dtype)):
        calls = [
            lambda x=x: adain(x, *parameters, negative_slope=0.2),
            lambda x=x: bias_act(x, parameters[0][0], act="lrelu"),
            lambda x=x: filter2d(x, there(setup_filter([1, 2, 1]))),
        ]
        for each in calls:
            expected = each()
            with torch.autocast(DEVICE.type, dtype=dtype):
                ours = each()
            assert ours.dtype == x.dtype
            assert torch.equal(ours, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_generator_under_autocast_draws_nearly_the_same_images(dtype: torch.dtype) -> None:
    G = small_generator().to(DEVICE)
    z = there(torch.randn(4, 16))
    expected = G(z, noise_mode="const").detach()
    with torch.autocast(DEVICE.type, dtype=dtype):
        images = G(z, noise_mode="const")
    assert (images.detach().float() - expected).norm() <= 0.1 * expected.norm()
    images.float().square().mean().backward()
    gradients = [p.grad for p in G.parameters() if p.grad is not None]
    assert gradients
    assert all(g.isfinite().all() for g in gradients)


def test_a_captured_generator_draws_what_eager_mode_draws() -> None:
    G = small_generator().to(DEVICE).eval().requires_grad_(False)
    static = there(torch.randn(4, 16))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            G(static, noise_mode="const")
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        images = G(static, noise_mode="const")
    for seed in (1, 2):
        z = there(torch.randn(4, 16, generator=torch.Generator().manual_seed(seed)))
        static.copy_(z)
        graph.replay()
        # The convolutions around the ops may be other ones during a capture.
        torch.testing.assert_close(images, G(z, noise_mode="const"), rtol=1e-3, atol=1e-3)


def test_training_steps_on_the_device_equal_those_on_the_cpu() -> None:
    """In fp64, where only a mistake is larger than rounding; R1 differentiates every op of D twice."""
    torch.manual_seed(0)
    shape = {"channel_base": 128, "channel_max": 16}
    networks = [small_generator().double(), Discriminator(32, **shape).double(), small_generator().double()]
    reals, z = torch.rand(4, 3, 32, 32, dtype=torch.float64), torch.randn(4, 16, dtype=torch.float64)
    told, gradients = [], []
    for device, backend in ((torch.device("cpu"), "reference"), (DEVICE, "cuda")):
        trainer = Trainer(*(copy.deepcopy(network).to(device) for network in networks))
        with use_backend(backend):
            values = trainer.d_step(reals.to(device), None, GeneratorInputs(z.to(device)), 0.0, 0.001)
            found = [p.grad for p in trainer.D.parameters() if p.grad is not None]
            values |= trainer.g_step(GeneratorInputs(z.to(device)), 0.0, 0.001)
        gradients.append(back(found + [p.grad for p in trainer.G.parameters() if p.grad is not None]))
        told.append({name: float(value) for name, value in values.items()})
    assert told[1] == pytest.approx(told[0], rel=1e-6)
    assert len(gradients[0]) == len(gradients[1])
    for ours, expected in zip(gradients[1], gradients[0], strict=True):
        assert (ours - expected).norm() <= 1e-5 * expected.norm() + 1e-9


def test_a_short_run_trains_on_the_device_from_end_to_end(tmp_path: Path) -> None:
    options = f"{RUN} --device {DEVICE.type} --cache-dir {tmp_path}/cache --outdir {tmp_path}/runs"
    assert call("train", options) == 0
    (run,) = (tmp_path / "runs").iterdir()
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert rows[-1]["images"] == 400
    assert all(value is not None for row in rows for value in row.values())
    assert json.loads((run / "config.json").read_text())["device"] == DEVICE.type
    G = load_generator(run).to(DEVICE)
    images = G(there(torch.randn(2, G.z_dim)), noise_mode="const")
    assert images.shape == (2, 3, 16, 16)
    assert images.isfinite().all()


@pytest.mark.parametrize("settings", static_steps.SETTINGS.values(), ids=static_steps.SETTINGS)
def test_captured_steps_are_the_steps_of_the_trainer(settings: dict) -> None:
    ours, theirs = (static_steps.trainer(DEVICE, **settings) for _ in range(2))
    assert CapturedSteps.obstacle(ours) == ""
    steps = CapturedSteps(ours, pytest.fail)
    told, expected = static_steps.trained(steps, ours), static_steps.trained(theirs, theirs)
    assert all(step.is_captured for step in steps._steps.values() if step.calls > EAGER_CALLS)
    assert sum(step.is_captured for step in steps._steps.values()) >= 2
    static_steps.expect_equal(ours, theirs, told, expected, 1e-6)


def test_a_capture_that_fails_is_reported_and_the_step_taken_anyway() -> None:
    ours, theirs = (static_steps.trainer(DEVICE) for _ in range(2))
    told: list[str] = []
    steps = CapturedSteps(ours, told.append)
    take, calls = ours.g_step, []

    def waits_for_the_device(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == EAGER_CALLS + 1:
            torch.zeros((), device=DEVICE).item()  # forbidden during a capture
        return take(*arguments)

    ours.g_step = waits_for_the_device  # type: ignore[method-assign]
    static_steps.expect_equal(
        ours, theirs, static_steps.trained(steps, ours), static_steps.trained(theirs, theirs), 1e-6
    )
    assert len(told) == 1
    assert "without CUDA graphs" in told[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_networks_in_the_forms_of_16_bits_are_the_networks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phases, joined pixels and matrix products, against the same networks in fp64 on the CPU."""
    monkeypatch.setattr(convolution, "_PHASES_FROM", 16)
    G = small_generator().to(memory_format=torch.channels_last)
    D = Discriminator(32, channel_base=512, channel_max=32).to(memory_format=torch.channels_last)
    z = torch.randn(4, 16)
    with use_backend("reference"):
        expected = G.double()(z.double(), noise_mode="const").detach()
        leaf = expected.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(D.double()(leaf).sum(), leaf)
    G.float().to(DEVICE).synthesis.dtype = D.float().to(DEVICE).dtype = dtype
    images = G(there(z), noise_mode="const")
    leaf = there(expected.float()).requires_grad_()
    (ours,) = torch.autograd.grad(D(leaf).sum(), leaf)
    for found, wanted in ((images.detach(), expected), (ours, gradient)):
        assert (back(found).double() - wanted).norm() <= 16 * torch.finfo(dtype).eps * wanted.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_captured_pictures_are_those_drawn_one_by_one(dtype: torch.dtype) -> None:
    G = small_generator().to(DEVICE)
    plain, captured = G.optimize_for_inference(dtype), G.optimize_for_inference(dtype, cuda_graphs=True)
    kept = []
    for step in range(5):
        for batch, psi in ((1, 1.0), (4, 0.7)):
            z = there(torch.randn(batch, 16, generator=torch.Generator().manual_seed(step)))
            noise = [torch.Generator(DEVICE).manual_seed(step) for _ in range(2)]
            expected = plain(z, truncation_psi=psi, noise_generator=noise[0])
            kept.append((captured(z, truncation_psi=psi, noise_generator=noise[1]), expected))
    assert all(graph.is_captured for graph in captured._graphs._graphs.values())
    for found, expected in kept:  # a later call does not write into an earlier one's pictures
        assert (found.float() - expected.float()).norm() <= 0.02 * expected.float().norm()
    captured = copy.deepcopy(captured).cpu().to(DEVICE)
    again = captured(z, truncation_psi=psi, noise_generator=torch.Generator(DEVICE).manual_seed(4))
    assert (again.float() - expected.float()).norm() <= 0.02 * expected.float().norm()
