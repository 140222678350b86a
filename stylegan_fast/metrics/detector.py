"""Feature detectors: TorchScript files, as the field exchanges them, known by the hash of their bytes.

A TorchScript file is a program. One that is not known here runs only where the person says so, and no file is fetched.

The interface is that of the Inception-2015 and VGG16 files used with StyleGAN2-ADA and 3::

    detector(images, return_features=True)                      [N, D] features
    detector(images, no_output_bias=True)                       [N, K] class probabilities, for the Inception Score
    detector(images, resize_images=False, return_lpips=True)    [N, F]; squared distances between rows are LPIPS

with images ``[N, 3, H, W]`` of 0 to 255. They resize to what they need themselves.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stylegan_fast.errors import UserError

# Of files that many projects have published the same hash of.
KNOWN = {"f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4": "Inception-2015-12-05"}


def as_rgb(images: Tensor) -> Tensor:
    """uint8 ``[n, C, H, W]`` with three channels: gray is repeated, transparency laid over white."""
    if images.shape[1] == 3:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1).contiguous()
    colour, alpha = images[:, :3].float(), images[:, 3:].float() / 255
    return (colour * alpha + 255 * (1 - alpha)).round().to(torch.uint8)


@dataclass(frozen=True)
class Detector:
    """A detector ready to run. ``name``: what it is known as, else its file's name; ``sha256``: of its file."""

    module: torch.nn.Module
    name: str
    sha256: str

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 ``[N, D]`` of uint8 ``[N, C, H, W]``."""
        return self._run(as_rgb(images), "features", return_features=True)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """float32 ``[N, K]``, rows that sum to 1, of uint8 ``[N, C, H, W]``."""
        found = self._run(as_rgb(images), "class probabilities", no_output_bias=True)
        if (found < 0).any() or (found.sum(1) - 1).abs().max() > 1e-3:
            raise UserError(f"detector {self.name}: its outputs are not probabilities; the Inception Score needs them")
        return found

    def lpips(self, images: Tensor) -> Tensor:
        """float32 ``[N, F]`` of ``[N, 3, H, W]`` in 0 to 255; LPIPS(a, b) is the squared distance of their rows.

        Differentiable with respect to the images.
        """
        return self._run(images, "LPIPS features", resize_images=False, return_lpips=True)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """float32 ``[N, A]``, one for each attribute, of uint8 ``[N, C, H, W]``: the file called with images alone."""
        return self._run(as_rgb(images), "logits")

    def _run(self, images: Tensor, what: str, **options: bool) -> Tensor:
        try:
            found = self.module(images, **options)
        except (RuntimeError, TypeError) as failure:
            if "out of memory" in str(failure) or "allocate memory" in str(failure):
                raise
            # The interpreter of TorchScript tells the cause on its last line.
            reason = [line for line in str(failure).splitlines() if line.strip()][-1:]
            call = ", ".join(f"{name}={value}" for name, value in options.items())
            raise UserError(
                f"detector {self.name}: gives no {what} for images {list(images.shape)} when called with {call} "
                f"({' '.join(reason)[:160]})"
            ) from None
        if not isinstance(found, Tensor) or found.ndim != 2 or found.shape[0] != images.shape[0]:
            shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(f"detector {self.name}: {what} are {shape}, expected [{images.shape[0]}, D]")
        found = found.float()
        if not found.detach().isfinite().all():
            raise UserError(f"detector {self.name}: {what} of some image are not finite")
        return found


def load_detector(
    path: str | Path, *, trusted: bool = False, device: str | torch.device = "cpu", option: str = "--detector"
) -> Detector:
    """The detector in a TorchScript file.

    Args:
        path: the file.
        trusted: run it although its hash is not in ``KNOWN``.
        device: where it runs.
        option: the command line's, for messages.

    Raises ``UserError`` where the file is missing, not TorchScript, or unknown and not trusted.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as failure:
        raise UserError(f"{option} {str(path)!r}: cannot read it ({failure.strerror or failure})") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 not in KNOWN and not trusted:
        raise UserError(
            f"{option} {str(path)!r}: this file, sha256 {sha256}, is not a known one, and TorchScript is a program; "
            "give --trust-detector if you trust whoever made it"
        )
    try:
        # From the very bytes that were hashed.
        module = torch.jit.load(io.BytesIO(content), map_location=device).eval()
    except (RuntimeError, ValueError, EOFError) as failure:
        reason = str(failure).splitlines()[0][:120]
        raise UserError(f"{option} {str(path)!r}: not a whole TorchScript file ({reason})") from None
    return Detector(module, KNOWN.get(sha256, Path(path).name), sha256)
