"""The built-in cartoon faces, as numbers: which face belongs to which index.

Every face is a pure function of its index: a counter-based generator (Philox, keyed by the index) gives uniform
numbers, and each attribute takes its own, so that a new attribute appended at the end changes no existing one. Raw
64-bit words are used instead of numpy's distributions because only the former are promised to stay the same.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

HAIR_STYLES = ("bald", "short", "side part", "bangs", "long", "curly", "bun", "spiky")
"""Hair styles; their order gives the class of a face in label-conditional training."""

GLASSES = ("none", "round", "square")

HAIR_COLOURS: dict[str, Colour] = {
    "black": (38, 33, 38),
    "brown": (92, 58, 36),
    "auburn": (139, 62, 32),
    "ginger": (214, 112, 38),
    "blond": (240, 200, 98),
    "grey": (205, 205, 212),
    "pink": (240, 122, 168),
    "blue": (66, 108, 204),
}
SKIN_TONES: tuple[Colour, ...] = (
    (255, 224, 200),
    (250, 209, 174),
    (240, 190, 148),
    (222, 164, 118),
    (192, 130, 86),
    (156, 100, 64),
    (118, 74, 48),
)
EYE_COLOURS: dict[str, Colour] = {
    "brown": (98, 58, 28),
    "blue": (52, 116, 200),
    "green": (58, 140, 76),
    "grey": (104, 120, 136),
}

_HAIR_STYLE_WEIGHTS = (0.10, 0.14, 0.13, 0.13, 0.16, 0.13, 0.11, 0.10)
_HAIR_COLOUR_WEIGHTS = (0.20, 0.20, 0.11, 0.12, 0.17, 0.08, 0.06, 0.06)
_STYLES_WITH_BEARD = ("bald", "short", "side part", "curly", "spiky")
_UNIFORMS = 32  # drawn per face; fewer are used, the rest is room for new attributes


@dataclass(frozen=True)
class FaceAttributes:
    """What is drawn on one face. Lengths are in units of half the picture's side; angles in degrees.

    ``yaw``, ``pitch``: turn of the head in [-1, 1] (positive = towards the right, down). ``tilt``: roll in degrees.
    ``face_width``: relative width of the head, 0.86 to 1.1. ``jaw``: 0 = round chin, 1 = pointed chin.
    ``smile``: -1 = frown, 1 = grin. ``mouth_open``: 0 = a line, 1 = wide open. ``hair_style``, ``hair_colour``,
    ``glasses``, ``eye_colour``: names from this module's tables; ``skin``: index into :data:`SKIN_TONES`.
    ``background``, ``background_end``: RGB at the top and at the bottom. ``shirt``: RGB. ``beard``: bool.
    ``brow``: -1 = worried, 1 = angry. ``eye_size``: relative, 0.85 to 1.15. ``hair_side``: -1 or 1, the side of the
    parting. ``gaze``: where the pupils look, in [-1, 1]. ``parts``: the index of the face, source of the small random
    details (curls, spikes).
    """

    yaw: float
    pitch: float
    tilt: float
    face_width: float
    jaw: float
    smile: float
    mouth_open: float
    hair_style: str
    hair_colour: str
    hair_rgb: Colour
    skin: int
    skin_rgb: Colour
    glasses: str
    eye_colour: str
    background: Colour
    background_end: Colour
    shirt: Colour
    beard: bool
    brow: float
    eye_size: float
    hair_side: int
    gaze: float
    parts: int

    @property
    def hair_class(self) -> int:
        """The class of this face in label-conditional training: the index of its hair style."""
        return HAIR_STYLES.index(self.hair_style)


def uniforms(key: int, count: int, stream: int = 0) -> np.ndarray:
    """``count`` float64 numbers in [0, 1), a pure function of ``(key, stream)``."""
    words = np.random.Philox(key=np.array([key, stream], dtype=np.uint64)).random_raw(count)
    return (words >> np.uint64(11)) * 2.0**-53


def face_attributes(index: int) -> FaceAttributes:
    """The face of ``index`` (any integer >= 0). Raises ``ValueError`` for a negative index."""
    if index < 0:
        raise ValueError(f"face_attributes: index must be >= 0, got {index}")
    u = uniforms(index, _UNIFORMS).tolist()
    hair_style = HAIR_STYLES[_choose(u[0], _HAIR_STYLE_WEIGHTS)]
    skin = min(int(u[2] * len(SKIN_TONES)), len(SKIN_TONES) - 1)
    hair_colour = tuple(HAIR_COLOURS)[_choose(u[1], _HAIR_COLOUR_WEIGHTS)]
    smile = 2.0 * u[9] ** 0.75 - 1.0  # more smiles than frowns
    background_hue = u[12]
    background = _hsv(background_hue, 0.25 + 0.45 * u[13], 0.78 + 0.2 * u[14])
    return FaceAttributes(
        yaw=_centred(u[3], u[4]),
        pitch=_centred(u[5], u[6]),
        tilt=15.0 * _centred(u[7], u[8]),
        face_width=0.86 + 0.24 * u[15],
        jaw=u[16],
        smile=smile,
        mouth_open=max(0.0, min(1.0, (u[10] - 0.45) * 2.2)) * (1.0 if smile > -0.3 else 0.4),
        hair_style=hair_style,
        hair_colour=hair_colour,
        hair_rgb=_jitter(HAIR_COLOURS[hair_colour], u[17], 0.12),
        skin=skin,
        skin_rgb=_jitter(SKIN_TONES[skin], u[18], 0.05),
        glasses=GLASSES[_choose(u[11], (0.66, 0.18, 0.16))],
        eye_colour=tuple(EYE_COLOURS)[_choose(u[19], (0.4, 0.28, 0.2, 0.12))],
        background=background,
        background_end=_hsv((background_hue + 0.16 * (u[20] - 0.5)) % 1.0, 0.2 + 0.6 * u[21], 0.55 + 0.4 * u[22]),
        shirt=_hsv(u[23], 0.45 + 0.4 * u[24], 0.45 + 0.45 * u[25]),
        beard=u[26] < 0.3 and hair_style in _STYLES_WITH_BEARD,
        brow=2.0 * u[27] - 1.0,
        eye_size=0.85 + 0.3 * u[28],
        hair_side=1 if u[29] < 0.5 else -1,
        gaze=2.0 * u[30] - 1.0,
        parts=index,
    )


def _choose(u: float, weights: tuple[float, ...]) -> int:
    reached = 0.0
    for place, weight in enumerate(weights):
        reached += weight
        if u < reached:
            return place
    return len(weights) - 1


def _centred(a: float, b: float) -> float:
    """A triangular number in [-1, 1]: most heads look nearly straight ahead, few far aside."""
    return a + b - 1.0


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _jitter(colour: Colour, u: float, amount: float) -> Colour:
    factor = 1.0 + amount * (2.0 * u - 1.0)
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue
