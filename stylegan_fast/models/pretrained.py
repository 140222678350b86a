"""Folders and repositories of networks for others: one file of numbers and a card that says what they are.

    <folder>/model.safetensors      the network file
    <folder>/README.md              the model card

Downloading needs the extra ``hub``; folders on this machine do not.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan_fast.atomic import replacing
from stylegan_fast.errors import UserError
from stylegan_fast.models.network_file import GIVEN_AWAY, load_generator, save_networks

if TYPE_CHECKING:
    import torch

    from stylegan_fast.models.discriminator import Discriminator
    from stylegan_fast.models.generator import Generator

CARD = "README.md"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_SHOWN_SETTINGS = ("kimg", "batch", "lr", "gamma", "mirror", "mixing_prob", "channel_base", "channel_max", "map_depth")


def load_pretrained(source: str | os.PathLike[str], revision: str | None, device: str | torch.device) -> Generator:
    """See `Generator.from_pretrained`."""
    path = Path(source)
    if not path.exists():
        if not _REPOSITORY.fullmatch(str(source)):
            raise UserError(f"{source}: no such folder, and not the name of a repository, which is like owner/name")
        path = _downloaded(str(source), revision)
    return load_generator(path, device=device)


def save_pretrained(
    G: Generator, folder: str | os.PathLike[str], run: str | os.PathLike[str] | None, D: Discriminator | None
) -> None:
    """See `Generator.save_pretrained`."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{target}: cannot make this folder ({error.strerror})") from None
    if run is not None and not Path(run).is_dir():
        raise UserError(f"{run}: no such run directory")
    save_networks(target / GIVEN_AWAY, G_ema=G, D=D, lod=G.lod)
    with replacing(target / CARD) as file:
        file.write(model_card(G, None if run is None else Path(run)).encode())


def model_card(G: Generator, run: Path | None) -> str:
    """Markdown about a generator: what it draws, how to use it and, from the files of its run, how it was trained."""
    parameters = sum(parameter.numel() for parameter in G.parameters())
    rows = {
        "image": f"{G.img_resolution}x{G.img_resolution}, {G.img_channels} channels, about -1 to 1",
        "latents": f"z {G.z_dim}, w {G.w_dim}, {G.num_ws} style layers",
        "classes": str(G.c_dim or "none"),
        "parameters": f"{parameters:,}",
    }
    if G.lod:
        rows["still growing"] = (
            f"lod {G.lod:g}: it draws {G.img_resolution >> int(G.lod)}x{G.img_resolution >> int(G.lod)}"
        )
    call = "G(z, c)" if G.c_dim else "G(z)"
    kind = "" if G.c_dim else "pipeline_tag: unconditional-image-generation\n"
    classes = f"c = torch.eye({G.c_dim})[[0, 0, 0, 0]]\n" if G.c_dim else ""
    parts = [
        f"---\nlibrary_name: stylegan_fast\ntags:\n- stylegan\n{kind}---\n",
        f"# StyleGAN generator, {G.img_resolution}x{G.img_resolution}\n",
        _table(rows),
        "```python\nimport torch\nfrom stylegan_fast import Generator\n\n"
        f'G = Generator.from_pretrained("<this repository or folder>")\nz = torch.randn(4, G.z_dim)\n{classes}'
        f"images = {call[:-1]}, truncation_psi=0.7)  # [4, {G.img_channels}, r, r]\n```\n",
    ]
    if run is not None:
        parts += _training(run)
    return "\n".join(parts)


def _training(run: Path) -> Iterator[str]:
    config = _json(run / "config.json")
    ticks = list(_json_lines(run / "stats.jsonl"))
    metrics = list(_json_lines(run / "metrics.jsonl"))
    rows: dict[str, str] = {}
    if config:
        rows["data"] = Path(str(config["data"])).name if config.get("data") else "the built-in cartoon faces"
        rows |= {name: f"{config[name]}" for name in _SHOWN_SETTINGS if config.get(name) is not None}
    if ticks:
        rows["trained on"] = f"{ticks[-1].get('kimg')} thousand images"
    if rows:
        yield "## Training\n"
        yield _table(rows)
    newest = {str(row["metric"]): row for row in metrics if "metric" in row}
    if newest:
        yield "## Measured\n"
        yield _table({name: _measured(row.get("results", row.get("value"))) for name, row in newest.items()})


def _measured(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_measured(part)}" for name, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(rows: dict[str, str]) -> str:
    lines = (f"| {name} | {value} |" for name, value in rows.items())
    return "\n".join(("| | |", "|---|---|", *lines)) + "\n"


def _json(path: Path) -> dict[str, Any]:
    return next(_json_lines(path, whole=True), {})


def _json_lines(path: Path, whole: bool = False) -> Iterator[dict[str, Any]]:
    """The objects in a file of one (whole) or of one a line; nothing where it is missing, no line that was cut off."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    for part in [text] if whole else text.splitlines():
        try:
            found = json.loads(part)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _downloaded(repository: str, revision: str | None) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise UserError(
            f"{repository}: no such folder here; to download it: pip install 'stylegan_fast[hub]'"
        ) from None
    try:
        return Path(huggingface_hub.hf_hub_download(repository, GIVEN_AWAY, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{repository}: {GIVEN_AWAY} cannot be downloaded ({reason})") from None
