"""Latent space: ways between latents, directions in W, and the latents of given pictures.

Everything works on plain tensors and on the calling convention ``G.mapping(z, c) -> ws``, ``G.synthesis(ws)``.
"""

from .interpolation import lerp, loop_points, slerp, spline

__all__ = ["lerp", "loop_points", "slerp", "spline"]
