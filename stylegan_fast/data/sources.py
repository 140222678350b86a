"""Where pictures come from: a folder, a ZIP, or the pen of the built-in faces.

A source lists names, hands out bytes or pixels by position, and can be described in JSON (``spec``) so that another
process opens the same one. It never writes and never unpacks to disk.
"""

from __future__ import annotations

import abc
import hashlib
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from stylegan_fast.errors import UserError

from .attributes import HAIR_STYLES, face_attributes
from .decode import EXTENSIONS, MAX_FILE_BYTES, BadImageError, Fit, decode
from .drawing import draw_face
from .labels import Labels, labels_from_folders, labels_from_json, parse_dataset_json

FACES_VERSION = 1  # raise it when a face of some index changes: caches depend on it
DEFAULT_FACES = 10_000
MAX_FACES = 1_000_000
_MAX_JSON_BYTES = 128 * 2**20


class Source(abc.ABC):
    """What the rest of the room knows of a place with pictures: a ``title`` for messages and sorted ``names``."""

    title: str
    names: list[str]

    @abc.abstractmethod
    def pixels(self, place: int, resolution: int, channels: int, fit: Fit = "crop") -> np.ndarray:
        """Picture ``place`` as uint8 ``[channels, resolution, resolution]``; raises ``BadImageError``."""

    @abc.abstractmethod
    def labels(self) -> Labels | None:
        """Labels, or None; raises ``UserError`` where they are damaged."""

    @abc.abstractmethod
    def identity(self) -> str:
        """Changes whenever any picture may have changed."""

    @abc.abstractmethod
    def spec(self) -> dict[str, Any]:
        """JSON from which :func:`source_from_spec` opens the same source in another process."""

    def close(self) -> None:  # noqa: B027 (most sources hold none)
        """Lets go of open files; none by default."""


class FileSource(Source):
    """What folders and ZIPs share: bytes by position, decoded, and labels from ``dataset.json`` or sub-folders."""

    @abc.abstractmethod
    def content(self, place: int) -> bytes:
        """The bytes of file ``place``; raises ``BadImageError`` where they cannot be read."""

    @abc.abstractmethod
    def dataset_json(self) -> dict[str, Any] | None:
        """The object in ``dataset.json``, None where there is no such file; raises ``UserError``."""

    def pixels(self, place: int, resolution: int, channels: int, fit: Fit = "crop") -> np.ndarray:
        return decode(self.content(place), resolution, channels, fit)

    def labels(self) -> Labels | None:
        parsed = self.dataset_json()
        if parsed is not None:
            return labels_from_json(parsed, self.title)
        return labels_from_folders(self.names)


class FolderSource(FileSource):
    """All images in a folder and the folders in it, sorted by name. Hidden files and folders are left out."""

    def __init__(self, path: Path, names: list[str] | None = None) -> None:
        self.path = path
        self.title = str(path)
        self.names = _names_in_folder(path) if names is None else names
        if not self.names:
            raise UserError(f"no images in folder {path} (looked for {' '.join(sorted(EXTENSIONS))})")

    def content(self, place: int) -> bytes:
        try:
            # Opened without blocking: a named pipe called x.png must not hang the program.
            descriptor = os.open(self.path / self.names[place], os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise BadImageError("not a regular file")
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise BadImageError(error.strerror or str(error)) from None
        return _within_limit(content)

    def dataset_json(self) -> dict[str, Any] | None:
        path = self.path / "dataset.json"
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_JSON_BYTES + 1)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        if len(content) > _MAX_JSON_BYTES:
            raise UserError(f"{path} is larger than the limit of {_MAX_JSON_BYTES} bytes")
        return parse_dataset_json(content, self.title)

    def identity(self) -> str:
        digest = hashlib.sha256(str(self.path.resolve()).encode())
        for name in self.names:
            try:
                status = os.stat(self.path / name)
            except OSError:
                digest.update(f"\0{name}\0gone".encode("utf-8", "surrogateescape"))
                continue
            digest.update(f"\0{name}\0{status.st_size}\0{status.st_mtime_ns}".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def spec(self) -> dict[str, Any]:
        return {"kind": "folder", "path": str(self.path), "names": self.names}


class ZipSource(FileSource):
    """All images in a ZIP, sorted by name, read without unpacking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.title = str(path)
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise UserError(f"{path} is not a whole ZIP file (cut short or damaged?): {error}") from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        # A name that occurs twice means the last entry, as everywhere.
        self._entries = {entry.filename: entry for entry in self._archive.infolist()}
        self.names = sorted(name for name in self._entries if _is_image_name(name))
        if not self.names:
            self.close()
            raise UserError(f"no images in {path} (looked for {' '.join(sorted(EXTENSIONS))})")

    def content(self, place: int) -> bytes:
        entry = self._entries[self.names[place]]
        if entry.file_size > MAX_FILE_BYTES:
            raise BadImageError(f"{entry.file_size} bytes are more than the limit of {MAX_FILE_BYTES}")
        try:
            # The size in the directory may lie: what is read is limited as well.
            with self._archive.open(entry) as file:
                return _within_limit(file.read(MAX_FILE_BYTES + 1))
        except BadImageError:
            raise
        except Exception as error:  # damaged, encrypted, unknown compression: zipfile and zlib raise many types
            raise BadImageError(" ".join(str(error).split())[:160] or type(error).__name__) from None

    def dataset_json(self) -> dict[str, Any] | None:
        entry = self._entries.get("dataset.json")
        if entry is None:
            return None
        if entry.file_size > _MAX_JSON_BYTES:
            raise UserError(f"dataset.json in {self.path} is larger than the limit of {_MAX_JSON_BYTES} bytes")
        try:
            with self._archive.open(entry) as file:
                content = file.read(_MAX_JSON_BYTES)
        except Exception as error:  # as above
            raise UserError(f"dataset.json in {self.path} cannot be read: {' '.join(str(error).split())}") from None
        return parse_dataset_json(content, self.title)

    def identity(self) -> str:
        status = os.stat(self.path)
        digest = hashlib.sha256(f"{self.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode())
        for name in self.names:
            entry = self._entries[name]
            digest.update(f"\0{name}\0{entry.CRC}\0{entry.file_size}\0{entry.header_offset}".encode())
        return digest.hexdigest()

    def spec(self) -> dict[str, Any]:
        return {"kind": "zip", "path": str(self.path)}

    def close(self) -> None:
        self._archive.close()


class FaceSource(Source):
    """The first ``count`` built-in cartoon faces. The class of a face is its hair style."""

    def __init__(self, count: int = DEFAULT_FACES) -> None:
        self.title = "the built-in faces"
        self.count = count
        self.names = [f"face{index:08d}" for index in range(count)]

    def pixels(self, place: int, resolution: int, channels: int, fit: Fit = "crop") -> np.ndarray:
        face = draw_face(face_attributes(place), resolution)
        if channels == 3:
            return face
        # ITU-R 601 luma with rounding, as Pillow's conversion to L.
        luma = np.tensordot(np.array([19595, 38470, 7471], dtype=np.uint32), face.astype(np.uint32), 1)
        return ((luma + 0x8000) >> 16).astype(np.uint8)[None]

    def labels(self) -> Labels | None:
        by_name = {name: face_attributes(index).hair_class for index, name in enumerate(self.names)}
        return Labels(by_name, len(HAIR_STYLES), list(HAIR_STYLES))

    def identity(self) -> str:
        return f"faces version {FACES_VERSION} count {self.count}"

    def spec(self) -> dict[str, Any]:
        return {"kind": "faces", "count": self.count}


def open_source(path: str | Path | None) -> Source:
    """A folder, a ZIP file, or the built-in faces: None, ``"faces"`` or ``"faces:COUNT"`` (if no such file exists)."""
    if path is None:
        return FaceSource()
    if path == "":  # to a path it would be the folder one happens to be in
        raise UserError("data set '': an empty path; give a folder of images or a ZIP file")
    place = Path(path)
    if place.is_dir():
        return FolderSource(place)
    if place.is_file():
        return ZipSource(place)
    kind, colon, count = str(path).partition(":")
    if kind == "faces" and not colon:
        return FaceSource()
    if kind == "faces":
        if not (count.isascii() and count.isdigit() and 1 <= int(count) <= MAX_FACES):
            raise UserError(f"{path!r}: the number of built-in faces must be from 1 to {MAX_FACES}")
        return FaceSource(int(count))
    raise UserError(f"data set {place} does not exist; give a folder of images or a ZIP file")


def source_from_spec(spec: dict[str, Any]) -> Source:
    if spec["kind"] == "faces":
        return FaceSource(spec["count"])
    if spec["kind"] == "zip":
        return ZipSource(Path(spec["path"]))
    return FolderSource(Path(spec["path"]), spec["names"])


def _is_image_name(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in EXTENSIONS and not hidden and not name.endswith("/")


def _names_in_folder(root: Path) -> list[str]:
    unreadable: list[OSError] = []
    names = []
    for folder, folders, files in os.walk(root, onerror=unreadable.append):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        relative = Path(folder).relative_to(root)
        names += [(relative / name).as_posix() for name in files]
    if unreadable:
        first = unreadable[0]
        raise UserError(f"cannot read folder {first.filename}: {first.strerror}")
    return sorted(name for name in names if _is_image_name(name))


def _within_limit(content: bytes) -> bytes:
    if len(content) > MAX_FILE_BYTES:
        raise BadImageError(f"more than the limit of {MAX_FILE_BYTES} bytes")
    return content
