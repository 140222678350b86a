"""From the options of ``train`` to a run that goes: data, networks, folder, loop, and the words around it."""

from __future__ import annotations

import platform
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from stylegan_fast.data import Dataset, open_dataset
from stylegan_fast.device import choose_device
from stylegan_fast.errors import UserError
from stylegan_fast.models import Discriminator, Generator
from stylegan_fast.training.checkpoint import load_state
from stylegan_fast.training.config import TrainConfig, config_for_resume, config_from_options
from stylegan_fast.training.draws import keyed_seed
from stylegan_fast.training.loop import Loop, Position, describe
from stylegan_fast.training.run_folder import RunFolder, check_outdir, create_run_folder, find_run_to_resume
from stylegan_fast.training.trainer import Trainer
from stylegan_fast.version import __version__


def train(options: dict[str, Any], outdir: str = "runs", resume: str | None = None) -> int:
    """Train, and say where the results are.

    Args:
        options: fields of ``TrainConfig``; None counts as not given.
        outdir: where run folders are made and looked for.
        resume: None for a new run; "latest", a run folder, or the ``state.pt`` in one.

    Returns the exit status: 0, or 128 plus the number of the signal that stopped it (after saving).
    Raises ``UserError`` for anything wrong with the options or the data, before a folder is made.
    """
    state, folder, note = None, None, None
    if resume is not None:
        folder = find_run_to_resume(resume, outdir)
        state, note = load_state(folder)
        config = config_for_resume(state["config"], options)
    else:
        config = config_from_options(options, choose_device(options.get("device") or "auto").type)
    device = choose_device(config.device)
    if folder is None:
        check_outdir(outdir)  # before minutes are spent on decoding
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    messages = _DataMessages()
    dataset = open_dataset(
        config.data,
        resolution=config.resolution,
        use_labels=config.cond,
        cache_dir=config.cache_dir,
        report=messages,
    )
    try:
        config = replace(config, resolution=dataset.resolution)
        trainer = build_trainer(config, dataset, device)
        position = Position()
        if state is not None:
            _compare_data(state["dataset"], dataset)
            trainer.load_state_dict(state["trainer"])
            saved = dict(state["position"])
            position = Position(**{**saved, "levels": saved["levels"] and tuple(saved["levels"])})
        if folder is None:
            folder = create_run_folder(outdir, _run_name(config, dataset))
        messages.keep_in(folder)
        return _run(config, folder, dataset, trainer, position, _notes(state, note, position))
    finally:
        dataset.close()


class _DataMessages:
    """What the data set has to say: on stderr and, as soon as the run has a folder, in its log."""

    def __init__(self) -> None:
        self._early: list[str] = []
        self._folder: RunFolder | None = None

    def __call__(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)  # above a progress bar, if there is one
        if self._folder is None:
            self._early.append(line)
        else:
            self._folder.log(line)

    def keep_in(self, folder: RunFolder) -> None:
        self._folder = folder
        for line in self._early:
            folder.log(line)


def build_trainer(config: TrainConfig, dataset: Dataset, device: torch.device) -> Trainer:
    """Freshly initialised networks for this data; the same ones for the same seed."""
    widths: dict[str, Any] = {"channel_base": config.channel_base, "channel_max": config.channel_max}
    shape: dict[str, Any] = {"img_channels": dataset.channels, "c_dim": dataset.label_dim, **widths}
    z_dim = config.z_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(config.seed, "networks"))
        G, G_ema = (
            Generator(dataset.resolution, z_dim=z_dim, w_dim=z_dim, mapping_layers=config.map_depth, **shape)
            for _ in range(2)
        )
        D = Discriminator(dataset.resolution, **shape)
    networks: list[Any] = [G, D, G_ema]
    for network in networks:  # channels_last: convolutions are faster so, by 1.7 to 2.3 times on the CPU
        network.to(device, memory_format=torch.channels_last)
    return Trainer(G, D, G_ema, r1_gamma=config.gamma, ema_half_life_kimg=config.ema_kimg)


def _run(
    config: TrainConfig,
    folder: RunFolder,
    dataset: Dataset,
    trainer: Trainer,
    position: Position,
    notes: list[str],
) -> int:
    folder.cut_stats(position.images)
    versions = {"stylegan_fast": __version__, "torch": torch.__version__, "python": platform.python_version()}
    folder.write_config({**config.as_dict(), "dataset": {"name": dataset.name, **describe(dataset)}, **versions})
    loop = Loop(config, folder, dataset, trainer, position)
    for line in [*_headline(config, folder, dataset, trainer, loop.device), *notes]:
        loop.say(line)
    try:
        stopped_by = loop.run()
    except Exception as failure:
        reason = " ".join(str(failure).split()) or type(failure).__name__
        _say_if_possible(loop, f"stopped at {position.images / 1000:.1f} kimg: {reason}")
        raise
    command = f"python -m stylegan_fast.train --resume {shlex.quote(str(folder.path))}"
    if stopped_by is not None:
        loop.say(f"stopped at {position.images / 1000:.3f} kimg, saved. To continue:\n  {command}")
        return 128 + stopped_by
    loop.say(f"done: {position.images / 1000:.1f} kimg")
    loop.say(f"network: {folder.network(position.images)}")
    loop.say(f"samples: {folder.fakes(position.images)}")
    return 0


def _say_if_possible(loop: Loop, line: str) -> None:
    try:
        loop.say(line)
    except OSError:
        loop.bar.line(line)  # the disk that stopped the run does not take the log either


def _headline(
    config: TrainConfig, folder: RunFolder, dataset: Dataset, trainer: Trainer, device: torch.device
) -> list[str]:
    def count(network: torch.nn.Module) -> str:
        return f"{sum(p.numel() for p in network.parameters()):,}"

    classes = f", {dataset.label_dim} classes" if dataset.label_dim else ""
    size = f"{dataset.resolution}x{dataset.resolution}x{dataset.channels}"
    where = f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    return [
        f"run      {folder.path}",
        f"data     {dataset.name}: {len(dataset):,} images, {size}{classes}",
        f"networks G {count(trainer.G)} parameters, D {count(trainer.D)}",
        f"training {config.kimg:g} kimg on {where}, seed {config.seed}",
    ]


def _notes(state: dict[str, Any] | None, damaged: str | None, position: Position) -> list[str]:
    if state is None:
        return []
    notes = [f"resuming at {position.images / 1000:.3f} kimg"]
    if damaged is not None:
        notes.append(damaged)
    if state["threads"] != torch.get_num_threads():
        notes.append(
            f"{state['threads']} threads before, {torch.get_num_threads()} now: results will differ in the last digits"
        )
    return notes


def _compare_data(before: dict[str, Any], dataset: Dataset) -> None:
    now = describe(dataset)
    for name, value in before.items():
        if now[name] != value:
            raise UserError(
                f"--resume: the run was started on data with {name} {value}, but {dataset.name} has {now[name]}; "
                "give the same data with --data"
            )


def _run_name(config: TrainConfig, dataset: Dataset) -> str:
    name = "faces" if config.data is None else Path(config.data).stem
    name = "".join(ch if ch.isalnum() or ch in "-_." else "_" for ch in name) or "images"
    return f"{name}-{dataset.resolution}" + ("-cond" if config.cond else "") + ("-mirror" if config.mirror else "")
