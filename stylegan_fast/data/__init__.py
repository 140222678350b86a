"""Data sets: folders, ZIP files and the built-in cartoon faces, decoded once and read ahead of need."""

from .attributes import FaceAttributes, face_attributes
from .cache import default_cache_dir
from .dataset import Dataset, FaceDataset, open_dataset
from .drawing import draw_face
from .loader import BatchLoader

__all__ = [
    "BatchLoader",
    "Dataset",
    "FaceAttributes",
    "FaceDataset",
    "default_cache_dir",
    "draw_face",
    "face_attributes",
    "open_dataset",
]
