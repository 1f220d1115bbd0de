"""The example in the documentation runs as it stands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from luminaguard.vm.qemu import Qemu

DOCUMENT = Path(__file__).parents[2] / "docs" / "hypervisor-library.md"
TOOLS = ("sh", "ls", "cat")


def root_with(tools: tuple[str, ...], folder: Path) -> Path:
    for name in tools:
        program = Path(str(shutil.which(name))).resolve()
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
        wanted = {Path("/bin") / name: program, **{Path(word): Path(word) for word in said.split() if word[0] == "/"}}
        for inside, source in wanted.items():
            target = folder / "tree" / str(inside)[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.resolve(), target)
    image = folder / "root.erofs"
    subprocess.run(["mkfs.erofs", "--quiet", str(image), str(folder / "tree")], check=True, capture_output=True)
    return image


def test_the_example_runs_and_imports_nothing_of_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    why = anyio.run(Qemu().missing) or ("mkfs.erofs is not installed" if shutil.which("mkfs.erofs") is None else None)
    if why is not None:
        if os.environ.get("LUMINAGUARD_MUST_RUN") == "1":
            pytest.fail(f"QEMU must run here: {why}")
        pytest.skip(why)
    root_with(TOOLS, tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").write_text("x")
    code = DOCUMENT.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    code += "\nimport sys\nprint(sorted({n.split('.')[1] for n in sys.modules if n.startswith('luminaguard.')}))\n"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert said[0].startswith("boot ")
    assert said[1].split() == ["3"]
    assert "out b'hello\\n'" in said
    assert said[-2] == "pool"
    assert said[-1] == "['host', 'model', 'vm']"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["file", "listing"]
