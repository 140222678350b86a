"""From the options of ``calc_metrics`` to rows: network, data, detectors, processes, file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from stylegan_fast.data import Dataset, open_dataset
from stylegan_fast.device import choose_device
from stylegan_fast.distributed import joined_ranks
from stylegan_fast.errors import UserError
from stylegan_fast.interop.networks import is_foreign, load_generator
from stylegan_fast.metrics.detector import Detector, load_detector
from stylegan_fast.metrics.evaluate import compute_metrics, parse_metrics, uses_data
from stylegan_fast.metrics.images import Drawing
from stylegan_fast.metrics.options import MetricOptions
from stylegan_fast.models import Generator, network_config
from stylegan_fast.models.network_file import network_path

Row = dict[str, Any]


def measure_network(network: str, metrics: str, options: dict[str, Any]) -> tuple[list[Row], Path | None]:
    """Measure a network file.

    Args:
        network: a run's folder or a network file.
        metrics: names separated by commas.
        options: those of the command line, by name.

    Returns the rows, on all ranks but the first none, and the file they are to be added to, if any. Raises
    ``UserError``.
    """
    names = parse_metrics(metrics)
    file = network_path(network)
    trained_with = run_config(file)
    with joined_ranks() as ranks:
        device = ranks.device(choose_device(options["device"]))
        G = load_generator(file, device=device)
        json_path = _json_path(options["json_path"], file, trained_with)
        detectors = {
            name: _detector(options, name, device) for name in ("detector", "pr_detector", "lpips", "classifier")
        }
        mirror = options["mirror"]
        settings = MetricOptions(
            num=options["num"],
            drawing=Drawing(
                seed=options["seed"],
                truncation_psi=options["trunc"],
                noise_mode=options["noise_mode"],
                class_index=options["class_index"],
            ),
            batch=options["batch"],
            mirror=bool(trained_with.get("mirror")) if mirror is None else mirror,
            crop=options["crop"],
            cache_dir=options["cache_dir"],
            **detectors,
        )
        dataset = _open_data(G, names, options, trained_with)
        try:
            measured = compute_metrics(G, names, dataset, settings, ranks)
        finally:
            if dataset is not None:
                dataset.close()
    about = {"network": file.name, "kimg": None if is_foreign(file) else network_config(file).get("kimg")}
    return [{**row, **about} for row in measured], json_path


def run_config(network: Path) -> dict[str, Any]:
    """The settings of the run a network file lies in; empty where it lies in none."""
    try:
        config = json.loads((network.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _detector(options: dict[str, Any], name: str, device: torch.device) -> Detector | None:
    path = options[name]
    if path is None:
        return None
    option = "--" + name.replace("_", "-")
    return load_detector(path, trusted=options["trust_detector"], device=device, option=option)


def _json_path(given: str | None, network: Path, trained_with: dict[str, Any]) -> Path | None:
    """The file for the rows, seen to be writable before hours are spent on what belongs there; None for none."""
    if given == "-" or (given is None and not trained_with):
        return None
    path = Path(given) if given is not None else network.parent / "metrics.jsonl"
    try:
        with open(path, "ab"):
            pass
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise UserError(f"--json {str(path)!r}: cannot write there ({reason}); give another file, or -") from None
    return path


def _open_data(G: Generator, names: list[str], options: dict[str, Any], trained_with: dict[str, Any]) -> Dataset | None:
    """The data named, else those of the run where something is to be done with them."""
    given = options["data"]
    if given is None and not (trained_with and (G.c_dim > 0 or any(uses_data(name) for name in names))):
        return None
    path = given or trained_with.get("data") or "faces"
    is_faces = path.split(":")[0] == "faces" and not Path(path).exists()
    # The built-in faces are drawn at any size, and a run's data are to be seen as the run saw them.
    as_network = is_faces or given is None or options["resize"]
    return open_dataset(
        path,
        resolution=G.img_resolution if as_network else None,
        channels=G.img_channels if is_faces or given is None else None,
        use_labels=G.c_dim > 0,
        cache_dir=options["cache_dir"],
    )
