"""Latent space: ways between latents, directions in W, and the latents of given pictures.

::

    interpolation     slerp, lerp, spline
    directions        principal axes, closed-form factorisation, attribute directions, editing
    named             a direction by its name on a command line
    face_classifier   tells what is drawn on built-in faces
    projection        the latent of a given picture
"""

from .directions import (
    PrincipalAxes,
    attribute_direction,
    edit,
    factorised_directions,
    orthogonal_to,
    principal_axes,
    sample_w,
)
from .interpolation import lerp, slerp, spline

__all__ = [
    "PrincipalAxes",
    "attribute_direction",
    "edit",
    "factorised_directions",
    "lerp",
    "orthogonal_to",
    "principal_axes",
    "sample_w",
    "slerp",
    "spline",
]
