"""Draws one cartoon face from its attributes.

All shapes are polygons in head coordinates: origin in the middle of the head, x to the right, y down, one unit = half
the picture's side at zoom 1. They are filled without anti-aliasing on a canvas several times larger (Pillow, in C) and
averaged down by an integer box filter. Measured on one core of a 2-core server CPU: 1,100 faces a second at 32 x 32,
860 at 64, 420 at 128, 135 at 256; most of it is the overhead of some 35 polygons, not their pixels.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from .attributes import EYE_COLOURS, Colour, FaceAttributes, uniforms

_MIN_CANVAS = 128  # below this, a mouth is thinner than a canvas pixel
_SUPERSAMPLING = 4
_ZOOM = 1.08  # the head fills the frame; more would cut buns and curls
_ANGLES = np.linspace(0.0, 2.0 * math.pi, 28, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_SPAN = np.linspace(-1.0, 1.0, 13)

INK: Colour = (34, 26, 34)
WHITE: Colour = (252, 252, 250)
MOUTH: Colour = (122, 28, 40)
TONGUE: Colour = (232, 110, 110)


def draw_face(face: FaceAttributes, resolution: int) -> np.ndarray:
    """The picture of ``face``: uint8 ``[3, resolution, resolution]``, sRGB. ``resolution``: any size >= 4."""
    canvas_size = max(_MIN_CANVAS, _SUPERSAMPLING * resolution)
    canvas_size -= canvas_size % resolution
    sky = np.array([[face.background], [face.background_end]], dtype=np.uint8)
    image = Image.fromarray(sky).resize((canvas_size, canvas_size), Image.Resampling.BILINEAR)
    _Painter(image, face).paint()
    small = image.reduce(canvas_size // resolution)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


class _Painter:
    """One face on one canvas. The methods draw parts, back to front in :meth:`paint`."""

    def __init__(self, image: Image.Image, face: FaceAttributes) -> None:
        self.draw = ImageDraw.Draw(image)
        self.face = face
        size = image.size[0]
        angle = math.radians(face.tilt)
        self.unit = 0.5 * _ZOOM * size
        cosine, sine = math.cos(angle) * self.unit, math.sin(angle) * self.unit
        self.rotation = np.array([[cosine, sine], [-sine, cosine]])
        # The neck is the pivot of a tilt: the head's middle moves sideways with it.
        self.origin = np.array([0.5 * size + 0.32 * sine, 0.545 * size])
        self.width = 0.58 * face.face_width
        self.height = 0.70
        self.skin = face.skin_rgb
        self.shade = _mix(face.skin_rgb, (96, 30, 30), 0.22)
        self.hair = face.hair_rgb
        # Lips darker than light skin and redder than dark skin, so that a mouth is seen on every face.
        self.lips = MOUTH if sum(face.skin_rgb) > 400 else (206, 70, 84)
        self.turn_x = 0.17 * face.yaw
        self.turn_y = 0.07 * face.pitch

    # -- shapes ------------------------------------------------------------------------------------------------

    def polygon(self, points: np.ndarray, colour: Colour, x: float = 0.0, y: float = 0.0) -> None:
        """``points``: float [P, 2] in head coordinates, moved by (x, y)."""
        at = self.origin + np.array([x, y]) @ self.rotation
        self.draw.polygon((points @ self.rotation + at).ravel().tolist(), fill=colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        self.polygon(_CIRCLE * (rx, ry), colour, x, y)

    def stroke(self, points: np.ndarray, thickness: float, colour: Colour) -> None:
        """A line along ``points`` of constant thickness, thinner towards its two ends."""
        along = np.gradient(points, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
        normal *= (0.5 * thickness / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9))[:, None]
        normal *= np.sqrt(1.0 - 0.8 * np.linspace(-1.0, 1.0, len(points)) ** 4)[:, None]
        self.polygon(np.concatenate([points + normal, (points - normal)[::-1]]), colour)

    def outline(self, start: float, stop: float, grow: float = 1.0, count: int = 40) -> np.ndarray:
        """The edge of the head between two angles (radians; 0 = right, pi/2 = chin), ``grow`` times its size."""
        angle = np.linspace(start, stop, count)
        cosine, sine = np.cos(angle), np.sin(angle)
        narrowing = 1.0 - (0.10 + 0.22 * self.face.jaw) * np.clip(sine, 0.0, 1.0) ** 2
        square = 1.0 + 0.10 * (1.0 - self.face.jaw) * np.abs(np.sin(2.0 * angle)) * (sine > 0)
        return np.stack([cosine * self.width * narrowing * square, sine * self.height * square], axis=1) * grow

    # -- the face ----------------------------------------------------------------------------------------------

    def paint(self) -> None:
        self.hair_behind()
        self.body()
        self.head()
        if self.face.beard:
            self.beard()
        self.nose()
        self.mouth()
        self.eyes()
        self.hair_in_front()
        self.brows()
        if self.face.glasses != "none":
            self.glasses()

    def body(self) -> None:
        # The body does not tilt with the head.
        head_rotation = self.rotation
        self.rotation = np.eye(2) * self.unit
        origin, self.origin = self.origin, np.array([self.unit / _ZOOM, 1.07 * self.unit / _ZOOM])
        self.ellipse(0.0, 1.13, 0.80, 0.46, _mix(self.face.shirt, INK, 0.35))
        self.ellipse(0.0, 1.16, 0.76, 0.46, self.face.shirt)
        self.polygon(np.array([[-0.22, 0.4], [0.22, 0.4], [0.25, 0.74], [0.0, 0.84], [-0.25, 0.74]]), self.shade)
        self.rotation, self.origin = head_rotation, origin

    def head(self) -> None:
        yaw = self.face.yaw
        for side in (-1.0, 1.0):
            ear = self.width * (1.0 - 0.16 * max(0.0, side * yaw))
            self.ellipse(side * ear - 0.3 * self.turn_x, 0.06 + 0.5 * self.turn_y, 0.10, 0.15, self.shade)
            self.ellipse(side * ear - 0.3 * self.turn_x, 0.05 + 0.5 * self.turn_y, 0.08, 0.12, self.skin)
        self.polygon(self.outline(0.0, 2.0 * math.pi, 1.0, 56), self.shade)
        self.polygon(self.outline(0.0, 2.0 * math.pi, 0.965, 56), self.skin, 0.25 * self.turn_x, -0.02)
        cheek = _mix(self.skin, (240, 84, 84), 0.30)
        for side in (-1.0, 1.0):
            x, narrow = self.feature(side * 0.36)
            self.ellipse(x, 0.25 + self.turn_y, 0.12 * narrow, 0.075, cheek)

    def feature(self, x: float) -> tuple[float, float]:
        """Where a feature at ``x`` of a head seen from the front comes to lie when it turns, and its narrowing."""
        x = x * self.face.face_width
        narrow = 1.0 - 0.32 * max(0.0, x / self.width * self.face.yaw)
        return x * (1.0 - 0.12 * abs(self.face.yaw)) + self.turn_x, narrow

    def eyes(self) -> None:
        face = self.face
        size = face.eye_size
        for side in (-1.0, 1.0):
            x, narrow = self.feature(side * 0.25)
            y = 0.0 + self.turn_y
            self.ellipse(x, y - 0.012, 0.155 * size * narrow, 0.175 * size, INK)
            self.ellipse(x, y, 0.135 * size * narrow, 0.155 * size, WHITE)
            look = x + (0.04 * face.gaze + 0.03 * face.yaw) * narrow
            self.ellipse(look, y + 0.015, 0.092 * size * narrow, 0.105 * size, EYE_COLOURS[face.eye_colour])
            self.ellipse(look, y + 0.02, 0.055 * size * narrow, 0.066 * size, INK)
            self.ellipse(look - 0.03 * narrow, y - 0.025, 0.026 * size, 0.03 * size, WHITE)

    def brows(self) -> None:
        colour = _mix(self.hair, INK, 0.45)
        for side in (-1.0, 1.0):
            x, narrow = self.feature(side * 0.26)
            inner = -side * _SPAN  # -1 at the outer end, 1 at the nose
            rise = 0.045 * self.face.brow * inner - 0.03 * (1.0 - _SPAN**2)
            y = -0.245 + self.turn_y - 0.03 * (self.face.eye_size - 1.0) + rise
            self.stroke(np.stack([x + 0.145 * narrow * _SPAN, y], axis=1), 0.065, colour)

    def nose(self) -> None:
        x, _ = self.feature(0.0)
        x += 0.07 * self.face.yaw
        self.ellipse(x, 0.205 + 1.2 * self.turn_y, 0.075, 0.062, self.shade)
        self.ellipse(x - 0.008, 0.19 + 1.2 * self.turn_y, 0.058, 0.048, _mix(self.skin, (240, 84, 84), 0.10))

    def mouth(self) -> None:
        face = self.face
        x, _ = self.feature(0.0)
        width = 0.22 + 0.04 * face.smile
        across = x + 0.02 * face.yaw + width * _SPAN * (1.0 - 0.1 * abs(face.yaw))
        y = 0.405 + self.turn_y
        bend = 0.13 * face.smile * (0.45 - _SPAN**2)
        upper = np.stack([across, y + bend * (0.55 if face.mouth_open > 0 else 1.0)], axis=1)
        if face.mouth_open <= 0.0:
            self.stroke(upper, 0.065, self.lips)
            return
        depth = (0.07 + 0.15 * face.mouth_open) * np.sqrt(1.0 - _SPAN**2 * 0.999)
        lower = upper + np.stack([np.zeros_like(depth), depth], axis=1)
        rim = np.stack([np.zeros_like(depth), np.full_like(depth, 0.024)], axis=1)
        self.polygon(np.concatenate([upper - rim, (lower + rim)[::-1]]), INK if sum(self.skin) > 400 else self.lips)
        self.polygon(np.concatenate([upper, lower[::-1]]), MOUTH)
        teeth = upper + (lower - upper) * 0.36
        self.polygon(np.concatenate([upper[1:-1], teeth[1:-1][::-1]]), WHITE)
        tongue = upper + (lower - upper) * 0.72
        self.polygon(np.concatenate([tongue[3:-3], lower[3:-3][::-1]]), TONGUE)

    def beard(self) -> None:
        edge = self.outline(0.02 * math.pi, 0.98 * math.pi, 1.03, 30)
        x, _ = self.feature(0.0)
        inner = np.stack([0.98 * self.width * _SPAN, 0.28 + self.turn_y - 0.26 * np.abs(_SPAN) ** 3], axis=1)
        self.polygon(np.concatenate([edge, inner]), _mix(self.hair, INK, 0.15))
        self.ellipse(x + 0.02 * self.face.yaw, 0.44 + self.turn_y, 0.30, 0.15, self.skin)

    def glasses(self) -> None:
        frame: Colour = (30, 30, 42)
        thickness = 0.042
        centres = []
        y = self.turn_y
        for side in (-1.0, 1.0):
            x, narrow = self.feature(side * 0.27)
            rx, ry = 0.205 * narrow, 0.195
            ring = _CIRCLE if self.face.glasses == "round" else _SQUARE
            loop = np.concatenate([ring, ring[:1]])
            outer, inner = loop * (rx + thickness, ry + thickness), loop * (rx - thickness, ry - thickness)
            self.polygon(np.concatenate([outer, inner[::-1]]), frame, x, 0.01 + y)
            centres.append((x, rx))
            ear = side * self.width * 0.95
            self.stroke(np.linspace([x + side * rx, y - 0.04], [ear, y - 0.02], 5), 0.05, frame)
        (left, left_rx), (right, right_rx) = centres
        self.stroke(np.linspace([left + left_rx, y - 0.02], [right - right_rx, y - 0.02], 5), 0.06, frame)

    # -- hair --------------------------------------------------------------------------------------------------

    def hair_behind(self) -> None:
        style = self.face.hair_style
        dark = _mix(self.hair, INK, 0.28)
        shift = -0.5 * self.turn_x
        if style == "long":
            fall = np.array([[-1.22, 0.0], [-1.3, 0.8], [-1.18, 1.34], [-0.4, 1.42], [0.4, 1.42], [1.18, 1.34]])
            fall = np.concatenate([fall, [[1.3, 0.8], [1.22, 0.0]]]) * (self.width, self.height * 0.98)
            self.polygon(np.concatenate([fall, self.outline(0.0, -math.pi, 1.17, 24)]), dark, shift)
        elif style == "bangs":
            fall = np.array([[-1.2, 0.0], [-1.2, 0.52], [-1.0, 0.66], [1.0, 0.66], [1.2, 0.52], [1.2, 0.0]])
            fall = fall * (self.width, self.height)
            self.polygon(np.concatenate([fall, self.outline(0.0, -math.pi, 1.14, 24)]), dark, shift)
        elif style == "bun":
            self.ellipse(shift - 0.1 * self.turn_x, -0.80, 0.28, 0.20, dark)
            self.ellipse(shift - 0.1 * self.turn_x - 0.03, -0.81, 0.23, 0.15, self.hair)
        elif style == "curly":
            wobble = uniforms(self.face.parts, 15, stream=1)
            for angle, extra in zip(np.linspace(-1.18 * math.pi, 0.18 * math.pi, 15), wobble, strict=True):
                x, y = math.cos(angle) * self.width * 1.1, math.sin(angle) * self.height * 1.0
                self.ellipse(x + shift, y, 0.2 + 0.05 * extra, 0.2 + 0.05 * extra, dark)

    def hair_in_front(self) -> None:
        style = self.face.hair_style
        if style == "bald":
            self.ellipse(-0.2 + 0.4 * self.turn_x, -0.5, 0.13, 0.07, _mix(self.skin, WHITE, 0.55))
            return
        shift = np.array([0.35 * self.turn_x, 0.4 * self.turn_y])
        low = {"short": 0.02, "side part": 0.05, "bangs": 0.10, "long": 0.08, "curly": 0.0, "bun": 0.02, "spiky": 0.0}
        temple = low[style] * math.pi
        top = self.outline(temple, -math.pi - temple, 1.1, 36)
        hairline = self.hairline(style)
        self.polygon(np.concatenate([top, hairline + shift]), self.hair)
        shine = _mix(self.hair, WHITE, 0.28)
        if style == "curly":
            wobble = uniforms(self.face.parts, 9, stream=2)
            for angle, extra in zip(np.linspace(-0.92 * math.pi, -0.08 * math.pi, 9), wobble, strict=True):
                x, y = math.cos(angle) * self.width * 1.0, math.sin(angle) * self.height * 0.88 - 0.04
                self.ellipse(x + shift[0], y, 0.15 + 0.05 * extra, 0.15 + 0.05 * extra, self.hair)
            return
        if style == "spiky":
            self.spikes()
        arc = self.outline(-0.72 * math.pi, -0.42 * math.pi, 0.93, 9)
        arc[:, 0] += 0.3 * self.turn_x
        self.stroke(arc, 0.06, shine)

    def hairline(self, style: str) -> np.ndarray:
        """The lower edge of the front hair from the left temple to the right one: float [P, 2]."""
        span = np.linspace(-1.0, 1.0, 17)
        x = span * self.width * 0.97
        if style == "bangs":
            y = -0.24 - 0.02 * np.cos(span * 9.0) + 0.05 * np.abs(span)
        elif style in ("side part", "long"):
            part = 0.38 * self.face.hair_side
            distance = np.abs(span - part) / (1.0 + abs(part))
            y = -0.56 + 0.62 * distance**1.3
        else:
            y = -0.40 - 0.10 * (1.0 - span**2) + 0.28 * span**6
        return np.stack([x, y], axis=1)

    def spikes(self) -> None:
        angles = np.linspace(-0.90 * math.pi, -0.10 * math.pi, 15)
        reach = np.where(np.arange(15) % 2 == 1, 1.30 + 0.12 * uniforms(self.face.parts, 15, stream=3), 1.04)
        tips = np.stack([np.cos(angles) * self.width, np.sin(angles) * self.height], axis=1) * reach[:, None]
        self.polygon(tips, self.hair)


def _mix(colour: Colour, other: Colour, amount: float) -> Colour:
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _rounded_square() -> np.ndarray:
    """A superellipse of exponent 5, the same number of points as the circle."""
    return np.sign(_CIRCLE) * np.abs(_CIRCLE) ** 0.4 * (1.0, 0.86)


_SQUARE = _rounded_square()
