"""The networks of StyleGAN (arXiv 1812.04948) and the files they are kept in."""

from stylegan_fast.models.discriminator import Discriminator
from stylegan_fast.models.generator import Generator
from stylegan_fast.models.growth import num_layers_at
from stylegan_fast.models.ladder import LADDER
from stylegan_fast.models.mapping import MappingNetwork, mix_styles
from stylegan_fast.models.network_file import load_discriminator, load_generator, network_config, save_networks
from stylegan_fast.models.synthesis import SynthesisNetwork

__all__ = [
    "LADDER",
    "Discriminator",
    "Generator",
    "MappingNetwork",
    "SynthesisNetwork",
    "load_discriminator",
    "load_generator",
    "mix_styles",
    "network_config",
    "num_layers_at",
    "save_networks",
]
