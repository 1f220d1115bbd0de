"""The local forge's face as a process, for what is copied to and from a forge."""

from face_fixtures import project, running

__all__ = ["project", "running"]
