"""From the options of ``train`` to a run that goes: data, networks, folder, loop, and the words around it."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from stylegan_fast.data import Dataset, open_dataset
from stylegan_fast.device import choose_device
from stylegan_fast.distributed import ALONE, LostRank, Ranks, joined_ranks
from stylegan_fast.errors import UserError
from stylegan_fast.models import LADDER, Discriminator, Generator
from stylegan_fast.training.augment_control import Augmentation, AugmentStrength
from stylegan_fast.training.augment_transforms import AUGPIPES
from stylegan_fast.training.checkpoint import load_state
from stylegan_fast.training.config import TrainConfig, config_for_resume, config_from_options, schedule_of
from stylegan_fast.training.data_messages import DataMessages
from stylegan_fast.training.draws import keyed_seed
from stylegan_fast.training.loop import Loop
from stylegan_fast.training.losses import OBJECTIVES
from stylegan_fast.training.measure import Measure
from stylegan_fast.training.observer import Observer
from stylegan_fast.training.position import Position, describe
from stylegan_fast.training.precision import Precision, choose_precision
from stylegan_fast.training.profile import Profile
from stylegan_fast.training.run_folder import RunFolder, check_outdir, create_run_folder, find_run_to_resume
from stylegan_fast.training.trainer import Trainer
from stylegan_fast.training.transfer import freeze_discriminator, freeze_mapping
from stylegan_fast.training.warm_start import names_a_network, open_source, start_from
from stylegan_fast.training.watching import Report, TensorBoard, check_tensorboard
from stylegan_fast.version import __version__


def train(
    options: dict[str, Any],
    outdir: str = "runs",
    resume: str | None = None,
    profile: bool = False,
    tensorboard: bool = False,
) -> int:
    """Train, and say where the results are. Under torchrun, one of the job's processes.

    Args:
        options: fields of ``TrainConfig``; None counts as not given.
        outdir: where run folders are made and looked for.
        resume: None for a new run; "latest", a run folder, or the ``state.pt`` in one, to go on with it; a network file
            for a new run that begins with its weights.
        profile: write a trace and a table of where the time goes.
        tensorboard: write event files for TensorBoard.

    Returns the exit status: 0, or 128 plus the number of the signal that stopped it (after saving).
    Raises ``UserError`` for anything wrong with the options or the data, before a folder is made.
    """
    with joined_ranks() as ranks:
        return _train(options, outdir, resume, profile, tensorboard, ranks)


def _train(
    options: dict[str, Any], outdir: str, resume: str | None, profile: bool, tensorboard: bool, ranks: Ranks
) -> int:
    source = open_source(resume) if resume is not None and names_a_network(resume) else None
    folder, state, note = _from_rank_0(ranks, lambda: _found_state(outdir, None if source else resume))
    if state is not None:
        config = config_for_resume(state["config"], options)
    else:
        if source is not None:
            given = {name: value for name, value in options.items() if value is not None}
            options = {**source.adopted(), **given, "weights": str(source.path)}
        config = config_from_options(options, choose_device(options.get("device") or "auto").type)
    device = ranks.device(choose_device(config.device))
    precision = choose_precision(config.precision, device)
    precision.apply()
    torch.backends.cudnn.benchmark = True  # the shapes of a phase stay the same for hours
    if folder is None:
        _from_rank_0(ranks, lambda: check_outdir(outdir))  # before minutes are spent on decoding
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if tensorboard:
        check_tensorboard()
    messages = DataMessages(ranks.first)
    dataset = open_dataset(
        config.data,
        resolution=config.resolution,
        use_labels=config.cond,
        cache_dir=config.cache_dir,
        report=messages,
    )
    try:
        # What "auto" came to stays with the run, wherever it goes on.
        config = replace(config, resolution=dataset.resolution, precision=precision.name)
        if source is not None:
            config = replace(config, start_resolution=min(source.resolution, dataset.resolution))
        schedule_of(config, dataset.resolution, ranks.count)  # what is wrong with the batch, before a folder is made
        trainer = build_trainer(config, dataset, device, precision, ranks)
        observers = build_observers(config, trainer, dataset, profile, tensorboard)
        weights = [] if source is None else start_from(source, trainer)
        position = Position()
        if state is not None:
            _compare_data(state["dataset"], dataset)
            trainer.load_state_dict(state["trainer"])
            saved = dict(state["position"])
            position = Position(**{**saved, "levels": saved["levels"] and tuple(saved["levels"])})
            for observer in observers:
                if observer.name in state.get("observers", {}):
                    observer.load_state_dict(state["observers"][observer.name])
        if folder is None:
            folder = _from_rank_0(ranks, lambda: create_run_folder(outdir, _run_name(config, dataset)))
        if ranks.first:
            messages.keep_in(folder)
        run_folder = folder if ranks.first else None
        loop = Loop(config, run_folder, dataset, trainer, position, observers, ranks)
        return _run(loop, folder, precision, [*weights, *_notes(state, note, position, ranks)])
    finally:
        dataset.close()


def build_observers(
    config: TrainConfig, trainer: Trainer, dataset: Dataset, profile: bool = False, tensorboard: bool = False
) -> list[Observer]:
    """What watches a run, in the order in which it is told: the page last, for it shows what the others found."""
    observers: list[Observer] = []
    if config.aug != "noaug":
        target = config.aug_target if config.aug == "ada" else None
        strength = AugmentStrength(config.aug_p, target, config.aug_kimg)
        trainer.augment = augmentation = Augmentation(strength, AUGPIPES[config.augpipe])
        observers.append(augmentation)
    if profile:
        observers.append(Profile())
    if config.metrics is not None:
        observers.append(Measure(config, dataset, trainer))
    if tensorboard:
        observers.append(TensorBoard())
    return [*observers, Report()]


def _found_state(outdir: str, resume: str | None) -> tuple[RunFolder | None, dict[str, Any] | None, str | None]:
    if resume is None:
        return None, None, None
    folder = find_run_to_resume(resume, outdir)
    return folder, *load_state(folder)


def _from_rank_0(ranks: Ranks, do: Callable[[], Any]) -> Any:
    """What rank 0 alone finds or does on its disk, on every rank; and its mistake, if it was one."""
    if ranks.count == 1:
        return do()
    result, mistake = None, None
    if ranks.first:
        try:
            result = do()
        except UserError as error:
            mistake = str(error)
    result, mistake = ranks.shared((result, mistake))
    if mistake is not None:
        raise UserError(mistake)
    return result


def build_trainer(
    config: TrainConfig, dataset: Dataset, device: torch.device, precision: Precision, ranks: Ranks = ALONE
) -> Trainer:
    """Freshly initialised networks for this data; the same ones for the same seed."""
    rung = LADDER[config.config]
    widths: dict[str, Any] = {"channel_base": config.channel_base, "channel_max": config.channel_max}
    shape: dict[str, Any] = {"img_channels": dataset.channels, "c_dim": dataset.label_dim, **widths}
    # Without a mapping network w is z itself, with an embedding of the class beside it where there are classes.
    w_dim = config.z_dim * 2 if config.map_depth == 0 and dataset.label_dim else config.z_dim
    latents: dict[str, Any] = {"z_dim": config.z_dim, "w_dim": w_dim, "mapping_layers": config.map_depth}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(config.seed, "networks"))
        settings = {**latents, **shape, **rung.generator_settings(), **(config.g_switches or {})}
        G, G_ema = (Generator(dataset.resolution, **settings) for _ in range(2))
        D = Discriminator(dataset.resolution, **shape, blur=rung.blur, **(config.d_switches or {}))
    networks: list[Any] = [G, D, G_ema]
    for network in networks:  # channels_last: convolutions are faster so, by 1.7 to 2.3 times on the CPU
        network.to(device, memory_format=torch.channels_last)
    if config.freeze_mapping:
        freeze_mapping(G)
    if config.freeze_d:
        freeze_discriminator(D, config.freeze_d, config.start_resolution or dataset.resolution)
    return Trainer(
        G,
        D,
        G_ema,
        r1_gamma=config.gamma,
        r2_gamma=config.r2_gamma,
        r1_every=config.r1_every,
        gp_weight=config.gp,
        clip=config.clip,
        ema_half_life_kimg=config.ema_kimg,
        objective=OBJECTIVES[config.objective],
        dtype=precision.dtype,
        loss_scaling=precision.loss_scaling,
        batch_gpu=config.batch_gpu,
        ranks=ranks,
    )


def _run(loop: Loop, folder: RunFolder, precision: Precision, notes: list[str]) -> int:
    config, dataset, position = loop.config, loop.dataset, loop.position
    if loop.folder is not None:
        folder.cut_stats(position.images)
        versions = {"stylegan_fast": __version__, "torch": torch.__version__, "python": platform.python_version()}
        folder.write_config({**config.as_dict(), "dataset": {"name": dataset.name, **describe(dataset)}, **versions})
    for line in [*_headline(loop, folder, precision), *notes]:
        loop.say(line)
    command = f"python -m stylegan_fast.train --resume {shlex.quote(str(folder.path))}"
    try:
        stopped_by = loop.run()
    except Exception as failure:
        reason = " ".join(str(failure).split()) or type(failure).__name__
        _say_if_possible(loop, f"stopped at {position.images / 1000:.1f} kimg: {reason}")
        if isinstance(failure, LostRank) or (loop.ranks.count > 1 and isinstance(failure, dist.DistBackendError)):
            raise LostRank(
                f"rank {loop.ranks.rank}: {reason}; the last snapshot is kept, go on with the same command and "
                f"--resume {shlex.quote(str(folder.path))}"
            ) from None
        raise
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


def _headline(loop: Loop, folder: RunFolder, precision: Precision) -> list[str]:
    def count(network: torch.nn.Module) -> str:
        return f"{sum(p.numel() for p in network.parameters()):,}"

    config, dataset, trainer, device = loop.config, loop.dataset, loop.trainer, loop.device
    classes = f", {dataset.label_dim} classes" if dataset.label_dim else ""
    size = f"{dataset.resolution}x{dataset.resolution}x{dataset.channels}"
    where = f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    ranks = f", {loop.ranks.count} processes" if loop.ranks.count > 1 else ""
    return [
        f"run      {folder.path}",
        f"data     {dataset.name}: {len(dataset):,} images, {size}{classes}",
        f"networks G {count(trainer.G)} parameters, D {count(trainer.D)}",
        f"config   {config.config} ({LADDER[config.config].title}), {config.objective}, {precision.name}",
        f"training {config.kimg:g} kimg on {where}{ranks}, seed {config.seed}",
    ]


def _notes(state: dict[str, Any] | None, damaged: str | None, position: Position, ranks: Ranks) -> list[str]:
    if state is None:
        return []
    notes = [f"resuming at {position.images / 1000:.3f} kimg"]
    if damaged is not None:
        notes.append(damaged)
    if state["threads"] != torch.get_num_threads():
        notes.append(
            f"{state['threads']} threads before, {torch.get_num_threads()} now: results will differ in the last digits"
        )
    if state.get("ranks", 1) != ranks.count:
        notes.append(f"{state.get('ranks', 1)} processes before, {ranks.count} now: other random numbers from here on")
    return notes


def _compare_data(before: dict[str, Any], dataset: Dataset) -> None:
    now = describe(dataset)
    for name, value in before.items():
        if now[name] != value:
            raise UserError(
                f"--resume: the run was started on data with {name} {value}, but {dataset.name} has {now[name]}; "
                "give the same data with --data, or, to begin anew with its weights, its network file with --resume"
            )


def _run_name(config: TrainConfig, dataset: Dataset) -> str:
    name = "faces" if config.data is None else Path(config.data).stem
    name = "".join(ch if ch.isalnum() or ch in "-_." else "_" for ch in name) or "images"
    return f"{name}-{dataset.resolution}" + ("-cond" if config.cond else "") + ("-mirror" if config.mirror else "")
