"""How good a network is: one file per metric, and ``compute_metrics``, which measures any list of them.

::

    evaluate            compute_metrics: one pass over real images, one over drawn ones, for all metrics asked for
    images              the streams of images, keyed so that batch and number of processes change nothing
    collector features  what is kept of a stream
    fid kid inception_score precision_recall    of a detector's features; detector: the TorchScript files
    swd ms_ssim         of pixels alone
    path_length separability    of latent space
    real_cache          statistics of real images, kept on the disk
"""

from .detector import Detector, load_detector
from .evaluate import METRICS, compute_metrics, parse_metrics
from .images import Drawing
from .options import MetricOptions

__all__ = [
    "METRICS",
    "Detector",
    "Drawing",
    "MetricOptions",
    "compute_metrics",
    "load_detector",
    "parse_metrics",
]
