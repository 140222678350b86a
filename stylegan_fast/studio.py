"""``python -m stylegan_fast.studio``: a local web page to play with a network."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import click

from stylegan_fast.command import run
from stylegan_fast.errors import UserError


@click.command()
@click.option("--network", required=True, metavar="RUN|FILE", help="A run's folder (its newest network) or a file.")
@click.option("--directions", metavar="FILE", multiple=True, help="Directions in W (.npy or safetensors) as sliders.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 lets others in.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to listen on. [default: the first free one from 7860]"
)
@click.option("--open", "in_browser", is_flag=True, help="Open the page in a browser.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
def main(network: str, directions: tuple[str, ...], host: str, port: int | None, in_browser: bool, device: str) -> None:
    """Play with a network on a web page of this machine: seeds and walks, truncation, style mixing, noise, classes.

    Nothing is sent anywhere else. Ctrl-C ends it.
    """
    from stylegan_fast.device import choose_device  # here, so that --help and typing errors are answered at once
    from stylegan_fast.figures.explorer import Explorer, load_directions
    from stylegan_fast.interop.networks import load_generator
    from stylegan_fast.models.network_file import network_path

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended as by Ctrl-C, so that nothing is left behind
    with tempfile.TemporaryDirectory(prefix="stylegan-studio-") as folder:
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "gradio"))
        try:
            import gradio
        except ImportError:
            raise UserError("studio needs gradio: pip install 'stylegan_fast[studio]'") from None
        from stylegan_fast.figures.studio_page import CSS, studio_page

        G = load_generator(network, device=choose_device(device))
        explorer = Explorer(G, {name: way for path in directions for name, way in load_directions(path, G).items()})
        page = studio_page(explorer, network_path(network).name, Path(folder))
        try:
            page.launch(
                server_name=host,
                server_port=port,
                inbrowser=in_browser,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                allowed_paths=[folder],
                ssr_mode=False,
                footer_links=[],
                css=CSS,
                theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            )
        except OSError as failure:
            wanted = f"--port {port}" if port else f"--host {host}"
            raise UserError(f"{wanted}: cannot listen there ({failure}); choose another") from None
        click.echo(f"studio: {page.local_url}  (Ctrl-C ends it)")
        try:
            while True:
                time.sleep(3600)
        finally:
            page.close(verbose=False)


if __name__ == "__main__":
    run(main)
