"""Errors, sorted by who must act.

    Fault
    ├── UserFault    the user must change something              (exit 2)
    ├── HostFault    this machine or one of its services must    (exit 3)
    └── Transient    it may work if tried again                  (exit 4)
        └── Unreachable    and asking again costs nothing

Everything else that is raised is a bug (exit 70). The message says what, which and got; `hint` says the way out.
"""


class Fault(Exception):  # noqa: N818 the word that the docs and the exit codes use
    """Something outside the program stands in the way, and somebody can act on it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserFault(Fault):
    """The user must change something: a file, a flag, a name."""


class HostFault(Fault):
    """This machine, or a service it needs, must be changed."""


class Transient(Fault):
    """The same call may work if it is made again."""


class Unreachable(Transient):
    """A service does not answer, or takes no calls for a while. Nobody need act: it is asked again."""
