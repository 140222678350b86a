"""Metrics at snapshots: ``train --metrics swd,fid50k``."""

from __future__ import annotations

from stylegan_fast.data import Dataset
from stylegan_fast.metrics import Drawing, MetricOptions, compute_metrics, load_detector, parse_metrics
from stylegan_fast.metrics.evaluate import check_metrics
from stylegan_fast.metrics.record import append_rows, summary
from stylegan_fast.training.config import TrainConfig
from stylegan_fast.training.loop import Loop
from stylegan_fast.training.observer import Observer
from stylegan_fast.training.trainer import Trainer

# Of a metric's results the number by which snapshots are told apart, where lower is better.
_QUALITY = {"fid50k": "fid", "kid50k": "kid", "swd": "swd"}


class Measure(Observer):
    """Measures G_ema at every snapshot, into ``metrics.jsonl`` and the log; the first of FID, KID and SWD counts as the
    snapshot's quality.

    Raises ``UserError`` where a metric lacks something.
    """

    def __init__(self, config: TrainConfig, dataset: Dataset, trainer: Trainer) -> None:
        self._names = parse_metrics(config.metrics or "")
        device = trainer.G_ema.mapping.w_avg.device
        detector = None
        if config.detector is not None:
            detector = load_detector(config.detector, trusted=config.trust_detector, device=device)
        self._options = MetricOptions(
            num=config.metrics_num,
            drawing=Drawing(seed=config.seed),
            mirror=config.mirror,
            detector=detector,
            cache_dir=config.cache_dir,
        )
        check_metrics(trainer.G_ema, self._names, dataset, self._options)

    def snapshot(self, loop: Loop) -> None:
        G = loop.trainer.G_ema
        before, G.lod = G.lod, loop.phase.lod
        try:
            rows = compute_metrics(G, self._names, loop.dataset, self._options, loop.ranks)
        finally:
            G.lod = before
        if loop.folder is None:
            return
        kimg = loop.position.images / 1000
        network = loop.folder.network(loop.position.images).name
        append_rows(loop.folder.metrics, [{**row, "network": network, "kimg": kimg} for row in rows])
        for row in rows:
            loop.say(f"metric   {summary(row)}")
        judged = [row["results"][_QUALITY[row["metric"]]] for row in rows if row["metric"] in _QUALITY]
        if judged:
            loop.report_quality(judged[0])
