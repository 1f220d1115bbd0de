"""`luminaguard vm` without a guest: help, what is refused, images, a machine where nothing works."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from luminaguard.ui.cli import vm
from luminaguard.ui.cli.main import main
from luminaguard.ui.cli.verbs.vm import INNER

MODULES = sorted(path.stem for path in Path(vm.__path__[0]).glob("[!_]*.py") if path.stem != "words")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def luminaguard(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-W", "error", "-m", "luminaguard", *words]
    return subprocess.run(argv, cwd=cwd, env=os.environ | env, text=True, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize("verb", INNER)
def test_a_listed_verb_has_a_module_with_that_summary_and_examples(verb: str) -> None:
    assert INNER[verb] == importlib.import_module(f"luminaguard.ui.cli.vm.{verb}").SUMMARY
    shown = luminaguard("vm", verb, "--help")
    assert shown.returncode == 0
    assert f"  luminaguard vm {verb}" in shown.stdout.partition("examples:\n")[2]


def test_every_verb_module_is_listed() -> None:
    assert set(MODULES) == set(INNER)


@pytest.mark.parametrize("words", [("vm",), ("vm", "--help"), ("help", "vm")])
def test_help_teaches_all_verbs(words: tuple[str, ...]) -> None:
    shown = luminaguard(*words)
    assert (shown.returncode, shown.stderr) == (0, "")
    for verb, summary in INNER.items():
        assert f"  {verb} " in shown.stdout
        assert summary in shown.stdout


def test_an_unknown_verb_is_answered_with_the_nearest() -> None:
    shown = luminaguard("vm", "spwan")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.splitlines() == [
        "error: luminaguard vm: there is no command spwan",
        "hint: did you mean spawn? luminaguard vm --help shows all commands",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("exec", "vm-012345abcdef"), "there is no program"),
        (("exec", "--", "true"), "needs a guest's ID, or --new"),
        (("exec", "vm-012345abcdef", "--new", "--", "true"), "needs a guest's ID, or --new"),
        (("exec", "vm-012345abcdef", "--memory", "64", "--", "true"), "--memory is for a new guest"),
        (("exec", "vm-012345abcdef", "true"), "unknown word true"),
        (("exec", "vm-012345abcdef", "--", "true"), "there is no guest 'vm-012345abcdef'"),
        (("exec", "../etc", "--", "true"), "not the id of a guest"),
        (("stop",), "needs ids, or --all"),
        (("stop", "vm-012345abcdef"), "there is no guest 'vm-012345abcdef'"),
        (("snapshot", "vm-012345abcdef"), "there is no guest 'vm-012345abcdef'"),
        (("snapshot", "--remove", "ready"), "there is no snapshot 'ready'"),
        (("restore", "../../x"), "there is no snapshot"),
        (("restore", "ready"), "there is no snapshot 'ready'"),
        (("migrate",), "needs a guest's ID, or --listen"),
        (("migrate", "vm-012345abcdef", "--to", "a:1"), "with --key"),
        (("migrate", "vm-012345abcdef", "--key", "k"), "with --key"),
        (("spawn", "--image", "tools"), "there is no image 'tools'"),
        (("spawn", "--image", "./tools"), "there is no image file ./tools"),
        (("spawn", "--disk", "none"), "there is no disk"),
        (("spawn", "--env", "A"), "cannot be read"),
        (("spawn", "--forward", "x=y"), "cannot be read"),
        (("spawn", "--deadline", "-1"), "cannot live"),
        (("spawn", "--driver", "bochs"), "no hypervisor 'bochs'"),
        (("image", "build"), "built from one thing"),
        (("image", "build", "/no/such"), "there is no /no/such"),
        (("image", "build", "/no/such", "--toolchain"), "built from one thing"),
        (("image", "build", "/", "--name", "a/b"), "cannot be the name of an image"),
        (("image", "build", "/", "--name", "0123abcd"), "cannot be the name of an image"),
        (("image", "remove"), "needs a name or an id"),
        (("image", "remove", "tools"), "there is no image 'tools'"),
        (("image", "list", "tools"), "takes no name"),
        (("image", "list", "--toolchain"), "takes neither"),
        (("image", "burn"), "invalid choice"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason_and_no_traceback(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(cache)
    assert main(("vm", *words)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err


def test_an_error_is_json_only_for_our_own_flag(cache: Path) -> None:
    shown = luminaguard("vm", "exec", "vm-012345abcdef", "--", "prog", "--json")
    assert shown.stderr.startswith("error: there is no guest")
    assert shown.stdout == ""
    shown = luminaguard("vm", "exec", "vm-012345abcdef", "--json", "--", "prog")
    assert json.loads(shown.stdout)["error"]["kind"] == "user"


def test_lists_are_empty_where_nothing_was_made_and_no_repository_is_needed(cache: Path) -> None:
    assert luminaguard("vm", "list", cwd=cache).stdout == "no guest runs\n"
    said = json.loads(luminaguard("vm", "list", "--json", cwd=cache).stdout)
    assert said == {"schema": "luminaguard/vm-guests@1", "guests": [], "cleared": []}
    said = json.loads(luminaguard("vm", "snapshot", "--json", cwd=cache).stdout)
    assert said == {"schema": "luminaguard/vm-snapshots@1", "snapshots": []}
    said = json.loads(luminaguard("vm", "image", "list", "--json", cwd=cache).stdout)
    assert said == {"schema": "luminaguard/vm-images@1", "images": []}
    assert luminaguard("vm", "stop", "--all", cwd=cache).stdout == "no guest to stop\n"


def test_a_machine_without_a_hypervisor_is_told_so_with_the_ways_out(cache: Path) -> None:
    nowhere = cache / "bin"
    nowhere.mkdir()
    shown = luminaguard("vm", "probe", PATH=str(nowhere))
    assert shown.returncode == 3
    assert "qemu-system" in shown.stdout
    assert "install QEMU" in " ".join(shown.stdout.split())
    assert "does not work:" in shown.stdout
    said = json.loads(luminaguard("vm", "probe", "--json", PATH=str(nowhere)).stdout)
    assert said["schema"] == "luminaguard/vm-probe@1"
    assert said["auto"] is None
    assert [(one["name"], one["works"]) for one in said["drivers"]] == [
        ("qemu", False),
        ("firecracker", False),
        ("apple", False),
    ]
    assert all(one["why_not"] for one in said["drivers"])
    shown = luminaguard("vm", "spawn", PATH=str(nowhere))
    assert shown.returncode == 3
    assert "no hypervisor works here" in shown.stderr
    shown = luminaguard("vm", "exec", "--new", "--", "true", PATH=str(nowhere))
    assert shown.returncode == 3


@pytest.mark.skipif(shutil.which("mkfs.erofs") is None, reason="mkfs.erofs is not installed: erofs-utils")
def test_images_are_built_named_listed_and_removed(cache: Path) -> None:
    for name, text in (("one", "1"), ("two", "2")):
        (cache / name).mkdir()
        (cache / name / "file").write_text(text)
    said = json.loads(luminaguard("vm", "image", "build", str(cache / "one"), "--name", "tools", "--json").stdout)
    assert said["schema"] == "luminaguard/vm-image@1"
    assert said["names"] == ["tools"]
    assert Path(said["path"]).stat().st_size == said["bytes"]
    first = said["id"]
    # A name goes to the image that was given it last.
    luminaguard("vm", "image", "build", str(cache / "two"), "--name", "tools")
    luminaguard("vm", "image", "build", str(cache / "one"), "--name", "older")
    listed = json.loads(luminaguard("vm", "image", "list", "--json").stdout)["images"]
    assert {image["id"] == first: image["names"] for image in listed} == {True: ["older"], False: ["tools"]}
    assert first[:12] in luminaguard("vm", "image", "list").stdout
    assert luminaguard("vm", "image", "remove", "tools").returncode == 0
    assert luminaguard("vm", "image", "remove", first[:10]).returncode == 0
    assert luminaguard("vm", "image", "list").stdout.startswith("no images")
    assert luminaguard("vm", "image", "remove", "older").returncode == 2
