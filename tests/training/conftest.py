from tests.backends import backend

__all__ = ["backend"]
