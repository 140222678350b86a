"""The classifier of the built-in faces: what it learns, and that it is trained once."""

from pathlib import Path

import pytest
import torch

from stylegan_fast.data import face_attributes, open_dataset
from stylegan_fast.latent import face_classifier as room
from stylegan_fast.latent.face_classifier import ATTRIBUTES, FaceClassifier, face_classifier


def test_both_answers_are_common_for_every_attribute() -> None:
    faces = [face_attributes(index) for index in range(1000)]
    for name, test in ATTRIBUTES.items():
        share = sum(test(face) for face in faces) / len(faces)
        assert 0.08 < share < 0.92, name


def test_it_looks_at_larger_pictures_reduced() -> None:
    model = FaceClassifier(16).eval()
    images = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8)
    large = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.allclose(model(images), model(large), atol=1e-5)


def test_it_is_trained_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_FACES", 320)
    monkeypatch.setattr(room, "_HELD_OUT", 64)
    first = face_classifier(8, cache_dir=tmp_path)
    monkeypatch.setattr(room, "_trained", lambda *_: pytest.fail("trained again"))
    again = face_classifier(8, cache_dir=tmp_path)
    assert room.fingerprint(first) == room.fingerprint(again)
    assert (first.accuracy > 0.3).all()


@pytest.mark.slow
def test_it_tells_what_is_drawn(tmp_path: Path) -> None:
    model = face_classifier(32, cache_dir=tmp_path)
    assert model.accuracy.min() > 0.85
    dataset = open_dataset("faces:11000", resolution=32, cache_dir=tmp_path)  # beyond the faces it was trained on
    try:
        rows = range(10_500, 11_000)
        with torch.no_grad():
            said = model(torch.from_numpy(dataset.read(rows, 32))) > 0
    finally:
        dataset.close()
    for place, (name, test) in enumerate(ATTRIBUTES.items()):
        truth = torch.tensor([test(face_attributes(row)) for row in rows])
        assert float((said[:, place] == truth).float().mean()) > 0.85, name
