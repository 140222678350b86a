"""A classifier for what is drawn on the built-in faces, trained here on faces whose attributes are known."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from stylegan_fast.atomic import replacing
from stylegan_fast.data import FaceAttributes, FaceDataset, default_cache_dir, open_dataset
from stylegan_fast.seeds import keyed_seed

ATTRIBUTES: dict[str, Callable[[FaceAttributes], bool]] = {
    "glasses": lambda face: face.glasses != "none",
    "beard": lambda face: face.beard,
    "smile": lambda face: face.smile > 0.2,
    "open mouth": lambda face: face.mouth_open > 0.2,
    "looks right": lambda face: face.yaw > 0,
    "looks down": lambda face: face.pitch > 0,
    "bald": lambda face: face.hair_style == "bald",
    "long hair": lambda face: face.hair_style == "long",
    "fair hair": lambda face: sum(face.hair_rgb) > 380,
    "light skin": lambda face: face.skin <= 3,
}
VERSION = 1  # raise it when the attributes, the network or its training change
LARGEST = 64  # pixels it looks at; larger pictures are reduced, which hides nothing of these attributes
_FACES, _HELD_OUT, _EPOCHS, _BATCH = 10_000, 1_000, 4, 64


class FaceClassifier(nn.Module):
    """Logits ``[N, len(ATTRIBUTES)]`` of uint8 or float images ``[N, C, r, r]`` in 0 to 255, r at least ``size``.

    ``accuracy``: the share of held-out faces it tells right, by attribute.
    """

    accuracy: Tensor

    def __init__(self, size: int, channels: int = 3) -> None:
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        width, side = 32, size
        while side > 4:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels, width, side = width, min(2 * width, 128), side // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels * side * side, len(ATTRIBUTES))
        self.register_buffer("accuracy", torch.zeros(len(ATTRIBUTES)))

    def forward(self, images: Tensor) -> Tensor:
        x = images.float() / 127.5 - 1
        if x.shape[-1] > self.size:
            x = functional.avg_pool2d(x, x.shape[-1] // self.size)
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits


def face_classifier(
    resolution: int, channels: int = 3, *, cache_dir: str | Path | None = None, device: str | torch.device = "cpu"
) -> FaceClassifier:
    """The classifier for faces of this resolution, trained at the first call (some minutes on a CPU) and kept."""
    size = min(resolution, LARGEST)
    root = default_cache_dir() if cache_dir is None else Path(cache_dir).expanduser()
    path = root / "metrics" / f"faces-{size}x{size}x{channels}-v{VERSION}.safetensors"
    model = FaceClassifier(size, channels)
    try:
        model.load_state_dict(load_file(path))
    except (OSError, safetensors.SafetensorError, RuntimeError):
        model = _trained(size, channels, cache_dir)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))
        except OSError as failure:
            print(f"the classifier of faces was trained but not kept: {failure}", file=sys.stderr)
    return model.eval().requires_grad_(False).to(device)


def fingerprint(model: nn.Module) -> str:
    """The sha256 of a network's numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _trained(size: int, channels: int, cache_dir: str | Path | None) -> FaceClassifier:
    dataset = open_dataset(f"faces:{_FACES}", resolution=size, channels=channels, cache_dir=cache_dir)
    assert isinstance(dataset, FaceDataset)
    try:
        images = torch.from_numpy(dataset.read(range(_FACES), size))
        drawn = dataset.attributes(range(_FACES))
    finally:
        dataset.close()
    labels = torch.tensor([[test(face) for test in ATTRIBUTES.values()] for face in drawn]).float()
    count = _FACES - _HELD_OUT
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(keyed_seed(0, "faces classifier", size))
        model = FaceClassifier(size, channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        steps = _EPOCHS * (count // _BATCH)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        with tqdm(total=steps, desc="classifier of faces", leave=False, disable=None) as bar:
            for _ in range(_EPOCHS):
                for rows in torch.randperm(count)[: count // _BATCH * _BATCH].split(_BATCH):
                    loss = functional.binary_cross_entropy_with_logits(model(images[rows]), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    bar.update()
    model.eval()
    with torch.no_grad():
        said = torch.cat([model(part) for part in images[count:].split(250)]) > 0
    model.accuracy.copy_((said == (labels[count:] > 0.5)).float().mean(dim=0))
    return model
