"""The local forge's face as a process, for tests of what a person types at a forge."""

from face_fixtures import project, running

__all__ = ["project", "running"]
