"""The page of the studio: knobs on one side, the image they give on the other (gradio, extra ``[studio]``)."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from stylegan_fast.atomic import replacing
from stylegan_fast.figures.explorer import NOISES, Explorer, Look
from stylegan_fast.figures.samples import SampleSettings
from stylegan_fast.figures.sheet import picture, save_png
from stylegan_fast.seeds import MAX_SEED

LARGEST_STRENGTH = 3.0
WALK_STEPS = 24  # images from one seed to the next
LONGEST_WALK = 3600.0  # seconds; a page that was closed without a word stops drawing then

CSS = """
#picture .image-container, #picture .image-frame { width: 100%; height: auto; }
#picture img { image-rendering: pixelated; width: 100%; height: auto; max-height: 82vh; object-fit: contain; }
footer { display: none !important; }
"""


def studio_page(explorer: Explorer, title: str, files: Path) -> gr.Blocks:
    """The page for one network.

    Args:
        title: shown at its head.
        files: an existing folder for what is downloaded, which the caller removes in the end.
    """
    G = explorer.G
    names = list(explorer.directions)
    with gr.Blocks(title=f"studio: {title}", analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.Markdown(f"## {title}\n{_describe(explorer)}")
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                image = gr.Image(
                    format="png",
                    image_mode=None,
                    show_label=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="picture",
                )
                with gr.Row():
                    download = gr.DownloadButton("Download image", size="sm", elem_id="download-image")
                    download_w = gr.DownloadButton("Download w", size="sm", elem_id="download-w")
                said = gr.Markdown(elem_id="said")
            with gr.Column(scale=2, min_width=300):
                with gr.Group():
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id="seed")
                    towards = gr.Slider(0, 1, 0, step=0.01, label="Towards the next seed", elem_id="towards")
                    with gr.Row():
                        random_seed = gr.Button("Random", size="sm", min_width=60, elem_id="random")
                        walk = gr.Button("Walk", size="sm", min_width=60, elem_id="walk")
                        stop = gr.Button("Stop", size="sm", min_width=60, elem_id="stop")
                with gr.Group():
                    psi = gr.Slider(-1, 1.5, 0.7, step=0.05, label="Truncation ψ: 1 varied, 0 the mean", elem_id="psi")
                    cutoff = gr.Slider(
                        0, G.num_ws, min(8, G.num_ws), step=1, label="in the first N layers", elem_id="cutoff"
                    )
                classes = ["by seed", *(str(index) for index in range(G.c_dim))]
                chosen = gr.Dropdown(classes, value="by seed", label="Class", visible=G.c_dim > 0, elem_id="class")
                with gr.Accordion("Style mixing", open=False):
                    mixing = gr.Checkbox(False, label="Take styles from a second seed", elem_id="mixing")
                    mix_seed = gr.Number(
                        1, label="Second seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id="mix-seed"
                    )
                    last = G.num_ws - 1
                    mix_first = gr.Slider(0, last, 0, step=1, label="from layer", elem_id="mix-first")
                    mix_last = gr.Slider(0, last, min(3, last), step=1, label="to layer", elem_id="mix-last")
                with gr.Accordion("Noise by resolution", open=False):
                    noises = [
                        gr.Radio(list(NOISES), value="fixed", label=f"{r}×{r}", elem_id=f"noise-{r}")
                        for r in explorer.resolutions
                    ]
                    noise_seed = gr.Number(0, label="Seed of fresh noise", precision=0, minimum=0, elem_id="noise-seed")
                strengths = []
                if names:
                    with gr.Accordion("Attributes", open=True):
                        end = LARGEST_STRENGTH
                        strengths = [
                            gr.Slider(-end, end, 0, step=0.1, label=name, elem_id=f"strength-{name}") for name in names
                        ]
        knobs: list[Any] = [
            *(seed, towards, psi, cutoff, chosen, mixing, mix_seed, mix_first, mix_last, noise_seed),
            *noises,
            *strengths,
        ]

        def look_of(values: tuple[Any, ...]) -> Look:
            (at, share, amount, layers, class_name, mixed, second, first_layer, last_layer, fresh), others = (
                values[:10],
                values[10:],
            )
            kinds, amounts = others[: len(noises)], others[len(noises) :]
            class_index = None if class_name == "by seed" else int(class_name)
            return Look(
                seed=_whole(at),
                towards_next=float(share),
                settings=SampleSettings(float(amount), int(layers), class_index),
                mix_seed=_whole(second) if mixed else None,
                mix_layers=(int(first_layer), int(last_layer)),
                noise=dict(zip(explorer.resolutions, kinds, strict=True)),
                noise_seed=_whole(fresh),
                strengths={name: float(k) for name, k in zip(names, amounts, strict=True) if k},
            )

        def draw(*values: Any) -> tuple[Any, ...]:
            look = look_of(values)
            began = time.perf_counter()
            pixels = explorer.draw(look)
            took = time.perf_counter() - began
            return picture(pixels), *_saved(explorer, look, pixels, files), f"drawn in {1000 * took:.0f} ms"

        def go_for_a_walk(*values: Any) -> Iterator[tuple[Any, ...]]:
            position, end = _whole(values[0]) + float(values[1]), time.monotonic() + LONGEST_WALK
            while time.monotonic() < end:
                position = (round(position * WALK_STEPS) + 1) / WALK_STEPS
                at = int(position) % (MAX_SEED + 1), round(position % 1, 3)
                yield picture(explorer.draw(look_of((*at, *values[2:])))), *at

        shown = [image, download, download_w, said]
        page.load(draw, knobs, shown, show_progress="hidden")
        for knob in knobs:
            # "input" is what a person does: the walk moves seed and slider too, and draws by itself.
            knob.input(draw, knobs, shown, show_progress="hidden", trigger_mode="always_last")
        random_seed.click(lambda: (random.randint(0, MAX_SEED), 0), None, [seed, towards], show_progress="hidden").then(
            draw, knobs, shown, show_progress="hidden"
        )
        walking = walk.click(go_for_a_walk, knobs, [image, seed, towards], show_progress="hidden")
        stop.click(None, cancels=[walking]).then(draw, knobs, shown, show_progress="hidden")
    return page


def _describe(explorer: Explorer) -> str:
    G = explorer.G
    size = explorer.resolutions[-1]
    classes = f", {G.c_dim} classes" if G.c_dim else ""
    return f"{size}×{size}, {G.num_ws} style layers (two at each resolution from 4×4 on){classes}"


def _whole(value: Any) -> int:
    """A number field that was emptied counts as 0."""
    return min(max(int(value or 0), 0), MAX_SEED)


def _saved(explorer: Explorer, look: Look, pixels: np.ndarray, files: Path) -> tuple[str, str]:
    """The image, and its styles as ``w`` ``[1, num_ws, w_dim]`` in the .npz that other StyleGAN tools read."""
    name = f"seed{look.seed:04d}"
    image, styles = files / f"{name}.png", files / f"{name}-w.npz"
    save_png(picture(pixels), image)
    content = io.BytesIO()
    np.savez(content, w=explorer.ws(look).cpu().numpy())
    with replacing(styles) as file:
        file.write(content.getvalue())
    return str(image), str(styles)
