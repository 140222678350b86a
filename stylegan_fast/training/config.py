"""The settings of a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegan_fast.errors import UserError
from stylegan_fast.models.ladder import LADDER
from stylegan_fast.training.augment_control import OFFICIAL_KIMG, TARGET
from stylegan_fast.training.presets import faces_preset
from stylegan_fast.training.schedule import Schedule

# What may differ when a run goes on: where it runs, what it reports, how long it lasts. All else would make it another
# run. `data` may only have moved: the loop compares what is in it.
CHANGEABLE = (
    "data", "kimg", "snap", "tick", "device", "threads", "cache_dir", "keep", "batch_gpu", "precision", "max_skipped",
    "cuda_graphs",
    "metrics", "metrics_num", "detector", "trust_detector",
)  # fmt: skip

# What an objective comes with. Clipped weights bound a deep critic's slope too loosely or leave it none: WGAN drew
# faces with R1, and without it at no limit, rate or number of critic steps that was tried (docs/training.md).
CALLED_FOR: dict[str, dict[str, Any]] = {
    "wgan": {"gamma": 10.0, "clip": 1.0},
    "wgan-gp": {"gamma": 0.0, "gp": 10.0},
}


@dataclass(frozen=True)
class TrainConfig:
    """One field per option of ``train``; the defaults are the paper's."""

    data: str | None = None  # None: the built-in faces
    resolution: int | None = None  # None: the data's own
    cond: bool = False
    mirror: bool = False
    cache_dir: str | None = None
    config: str = "f"
    growing: bool = True
    kimg: float = 25000.0
    growth_kimg: float | None = None  # the length that scales the schedule; None: kimg, as it was at the start
    batch: int | None = None  # over all ranks; None: the official table by resolution
    batch_gpu: int | None = None  # of one pass; None: all of a rank's share at once
    lr: float | None = None  # None: the official table by resolution
    g_lr: float | None = None  # the generator's; None: the same
    objective: str = "nonsaturating"
    gamma: float = 10.0
    r2_gamma: float = 0.0
    r1_every: int = 1
    gp: float = 0.0
    clip: float | None = None
    n_critic: int = 1
    ema_kimg: float = 10.0
    mixing_prob: float = 0.9
    channel_base: int = 8192
    channel_max: int = 512
    z_dim: int = 512
    map_depth: int = 8
    aug: str = "noaug"  # "fixed" at aug_p, or "ada" from aug_p on
    aug_p: float = 0.0
    aug_target: float = TARGET
    aug_kimg: float = OFFICIAL_KIMG  # in which p can go from 0 to 1
    augpipe: str = "bgc"
    weights: str | None = None  # the network file a run began with
    g_switches: dict[str, Any] | None = None  # its arguments of the networks that no option sets
    d_switches: dict[str, Any] | None = None
    start_resolution: int | None = None  # where growth begins; None: the official one
    freeze_d: int = 0
    freeze_mapping: bool = False
    seed: int = 0
    precision: str = "auto"
    device: str = "auto"
    cuda_graphs: bool = True
    threads: int | None = None  # None: torch's own choice
    snap: int = 10
    tick: float | None = None  # None: the official table, scaled
    keep: int | None = None  # None: all snapshots
    max_skipped: int = 100
    metrics: str | None = None  # measured at snapshots
    metrics_num: int | None = None  # images for them; None: as published
    detector: str | None = None  # TorchScript file
    trust_detector: bool = False

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def config_from_options(options: dict[str, Any], device_type: str) -> TrainConfig:
    """The settings of a new run: the options given, else what the configuration of the paper's Table 1 and the
    objective call for, else the preset of the built-in faces, else the paper's.

    Args:
        options: those given on the command line; a value of None counts as not given.
        device_type: "cpu", "cuda" or "mps", which the preset depends on.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _check_augmentation(given)
    _check_freezing(given)
    _make_paths_absolute(given)
    preset = {} if given.get("data") else faces_preset(device_type, given.get("resolution"))
    rung = LADDER[given.get("config", "f")]
    called_for: dict[str, Any] = {} if rung.mapping else {"map_depth": 0}
    if not rung.mixing:
        called_for["mixing_prob"] = 0.0
    objective = given.get("objective", rung.objective)
    called_for |= {"objective": objective, **CALLED_FOR.get(objective, {})}
    config = TrainConfig(**{"kimg": rung.kimg, **preset, **called_for, **given})
    if given.get("batch", 0) > config.kimg * 1000:
        raise UserError(f"--batch {config.batch}: one step would take more images than the run's {config.kimg:g} kimg")
    _check_effects(given, config)
    # An average over 10 kimg of a run of 50 would show its beginning at its end.
    ema_kimg = given.get("ema_kimg", min(config.ema_kimg, config.kimg / 50))
    return dataclasses.replace(config, growth_kimg=config.growth_kimg or config.kimg, ema_kimg=ema_kimg)


def config_for_resume(saved: dict[str, Any], options: dict[str, Any]) -> TrainConfig:
    """The settings of a resumed run: those it was started with and, of the options given now, those in ``CHANGEABLE``.

    Raises ``UserError`` for an option that contradicts the run.
    """
    options = dict(options)
    _make_paths_absolute(options)
    try:
        config = TrainConfig(**saved)
    except TypeError as problem:
        raise UserError(f"--resume: the state was written by another version of the program ({problem})") from None
    for name, value in options.items():
        if value is None or name in CHANGEABLE or value == getattr(config, name):
            continue
        option = "--" + name.replace("_", "-")
        raise UserError(
            f"{option} {value}: the run was started with {getattr(config, name)}; leave {option} out to go on with it, "
            "or start anew without --resume"
        )
    return dataclasses.replace(config, **{n: v for n, v in options.items() if v is not None and n in CHANGEABLE})


def _make_paths_absolute(options: dict[str, Any]) -> None:
    """For a run may be resumed from another folder. Raises ``UserError`` for a path of nothing."""
    for name in ("data", "cache_dir", "detector"):
        path = options.get(name)
        if path == "":  # an unset variable of the shell's: the folder one happens to be in is not what was meant
            raise UserError(f"--{name.replace('_', '-')} '': an empty path")
        if path is not None and (name != "data" or Path(path).exists()):  # which may be "faces"
            options[name] = str(Path(path).resolve())


def _check_freezing(given: dict[str, Any]) -> None:
    """Raises ``UserError`` where what would be frozen has learned nothing."""
    for name in ("freeze_d", "freeze_mapping"):
        if given.get(name) and not given.get("weights"):
            shown = "--freeze-mapping" if name == "freeze_mapping" else f"--freeze-d {given[name]}"
            raise UserError(f"{shown}: untrained layers would stay as they are; give a network file with --resume")


def _check_augmentation(given: dict[str, Any]) -> None:
    """Raises ``UserError`` for options that say different things."""
    kind = given.get("aug", "noaug")
    if kind == "fixed" and "aug_p" not in given:
        raise UserError("--aug fixed: give its strength with --aug-p, like --aug-p 0.3")
    either = ("fixed", "ada")
    for name, kinds in (("aug_p", either), ("augpipe", either), ("aug_target", ("ada",)), ("aug_kimg", ("ada",))):
        if name in given and kind not in kinds:
            raise UserError(f"{_written(given, name)}: without effect with --aug {kind}; add --aug {kinds[-1]}")


def _check_effects(given: dict[str, Any], config: TrainConfig) -> None:
    """Raises ``UserError`` for options that would do nothing in this run."""
    if "r1_every" in given and config.gamma == config.r2_gamma == 0:
        raise UserError(f"{_written(given, 'r1_every')}: without effect without R1 and R2; add --gamma or --r2-gamma")
    if given.get("mixing_prob") and not LADDER[config.config].styles:
        raise UserError(f"{_written(given, 'mixing_prob')}: --config {config.config} has no styles to mix")
    for name in ("metrics_num", "detector", "trust_detector"):
        if name in given and config.metrics is None:
            raise UserError(f"{_written(given, name)}: without effect without --metrics; add it")


def _written(options: dict[str, Any], name: str) -> str:
    option, value = "--" + name.replace("_", "-"), options[name]
    return option if value is True else f"{option} {value}"


def schedule_of(config: TrainConfig, resolution: int, num_ranks: int) -> Schedule:
    """The official schedule of the configuration, scaled to the run's length.

    Raises ``UserError`` for a batch that cannot be shared out among the ranks.
    """
    rung = LADDER[config.config]
    start = config.start_resolution or rung.start_resolution
    schedule = Schedule(
        resolution,
        config.growth_kimg or config.kimg,
        num_ranks,
        config.batch,
        config.lr,
        initial_resolution=start if config.growing else resolution,
        official_kimg=rung.kimg,
    )
    fewest = min(schedule.at(0).batch, schedule.at(round(config.kimg * 1000)).batch)
    if fewest < 1:
        raise UserError(
            f"--batch: fewer images a step than the {num_ranks} processes of the job; give at least as many"
        )
    return schedule
