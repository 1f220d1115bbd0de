"""What the isolation level `vm` asks of one guest, as it comes on the command line of `enclosed`: JSON, parsed here."""

import json
from dataclasses import dataclass
from pathlib import Path

from luminaguard.model.faults import UserFault

PREFIX = "IN_"
"""A variable of this name and more is one of the program's, without the prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The tree that the program works in, at `at`.

    With a `lower`, it is what was written over that read-only folder: `upper` holds what we wrote ourselves before the
    first start, and all that is written since lies on a disk in `work`. Without, `upper` is the tree itself.
    """

    at: str
    upper: Path
    lower: Path | None
    work: Path | None
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A file or folder of this machine, at `at` in the guest. What is written to it stays in the guest."""

    source: Path
    at: str
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One guest.

    `driver` names the class of a hypervisor, as `module:class`. `keep` is a folder of ours for images of folders; `uid`
    and `home` are the program's.
    """

    driver: str
    image: Path
    tree: Tree
    mounts: tuple[Shown, ...]
    memory_mib: int
    processes: int
    file_bytes: int
    tmp_bytes: int
    disk_bytes: int
    gateway: Path | None
    gateway_port: int
    keep: Path
    uid: str
    home: str
    host_name: str


def spec_of(text: str) -> Spec:
    """Parse a spec.

    Raises:
        UserFault: it is none.
    """
    try:
        told = json.loads(text)
        tree, mounts = told.pop("tree"), told.pop("mounts")
        return Spec(
            **{
                **told,
                "image": Path(told["image"]),
                "keep": Path(told["keep"]),
                "gateway": _path(told["gateway"]),
                "tree": Tree(
                    at=tree["at"],
                    upper=Path(tree["upper"]),
                    lower=_path(tree["lower"]),
                    work=_path(tree["work"]),
                    writable=tree["writable"],
                ),
                "mounts": tuple(
                    Shown(source=Path(it["source"]), at=it["at"], writable=it["writable"]) for it in mounts
                ),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise UserFault(f"this is no description of a guest: {exc!r}", hint="it is made by the sandbox") from None


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
