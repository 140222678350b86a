"""The console script ``stylegan-fast`` and ``python -m stylegan_fast``: every command line as a subcommand."""

from __future__ import annotations

import importlib

import click

from stylegan_fast.command import run
from stylegan_fast.version import __version__

# Named here, not imported: only the command asked for is loaded.
COMMANDS = {
    "train": ("train", "Train on a folder of images, a ZIP, or the built-in faces."),
    "generate": ("generate", "Draw images with a trained network."),
    "style-mixing": ("style_mixing", "Mix the styles of images on one sheet."),
    "dataset-tool": ("dataset_tool", "Make a ready ZIP of a folder of images."),
    "figures": ("figures.__main__", "The paper's figures with a network of one's own."),
    "video": ("video", "Moving pictures: latent walks, mixing, noise, time-lapse."),
    "edit": ("edit", "More and less of one thing in the same images."),
    "project": ("project", "The latent of a given picture."),
    "calc-metrics": ("calc_metrics", "Measure a network: SWD, MS-SSIM, FID, path length, ..."),
    "studio": ("studio", "Play with a network on a local web page."),
    "report": ("report", "Make the page about a run anew."),
    "convert": ("convert", "Make a network file of an official pickle or a port's checkpoint."),
    "export": ("export", "A generator as ONNX or as a PyTorch exported program."),
    "info": ("info", "Versions, backends and devices, for a bug report."),
}


class Subcommands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"stylegan_fast.{COMMANDS[cmd_name][0]}").main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])


@click.group(cls=Subcommands, invoke_without_command=True, name="stylegan-fast")
@click.version_option(__version__)
@click.pass_context
def group(ctx: click.Context) -> None:
    """StyleGAN: train, generate, mix styles. Each command has its own --help."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the subcommand named on the command line and leave the process with its status."""
    run(group)


if __name__ == "__main__":
    main()
