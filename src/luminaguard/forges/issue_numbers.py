"""The numbers that issues and pull requests go by."""

from luminaguard.model.faults import UserFault


def number_of(text: str, *, what: str = "issue", sign: str = "#") -> int:
    """Give the number that an id stands for.

    Raises:
        UserFault: it is none, or of another project.
    """
    bare = text.strip().removeprefix(sign)
    if not (bare.isascii() and bare.isdecimal()):
        raise UserFault(f"{text!r} is no {what} of this project", hint=f"ids are numbers there: {sign}154")
    return int(bare)
