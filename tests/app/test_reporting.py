"""The report of a run at the forge: in its place, once, and edited when it is posted again."""

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from luminaguard.app.project import Project, open_project
from luminaguard.app.reporting import post_report
from luminaguard.forges.local import LocalTracker
from luminaguard.forges.talk import Talk
from luminaguard.model.facts import Fact
from luminaguard.model.faults import UserFault
from luminaguard.model.ids import Json, RunId


def project_with(folder: Path, text: str) -> Project:
    """Open a repository of two issues whose forge is the local tracker, and shows what is said."""
    who = ("-c", "user.name=A", "-c", "user.email=a@b.invalid")
    subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True)
    subprocess.run(["git", "-C", folder, *who, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    (folder / "luminaguard.toml").write_text(text)
    project = open_project(folder)
    for title in ("one thing", "reports"):
        project.store.add(title)
    assert isinstance(project.forge, LocalTracker)
    return replace(project, talk=project.forge.talk)


def facts_of(run: str, *, landed: bool) -> tuple[Fact, ...]:
    rows: list[tuple[str, str, Mapping[str, Json]]] = [
        ("run", "started", {"target": "main"}),
        ("1", "planned", {"title": "one thing"}),
    ]
    if landed:
        rows.append(("1", "landed", {"commit": "a" * 40, "tree": "b" * 40, "files": []}))
    return tuple(
        Fact(seq=seq, time=float(seq), run=RunId(run), subject=subject, kind=kind, data=data)
        for seq, (subject, kind, data) in enumerate(rows, start=1)
    )


def test_a_run_has_one_report_whose_text_follows_the_run_and_another_run_has_its_own(tmp_path: Path) -> None:
    project = project_with(tmp_path, "[report]\nissue = '#2'")
    first = anyio.run(post_report, project, facts_of("run-a", landed=False))
    again = anyio.run(post_report, project, facts_of("run-a", landed=True))
    other = anyio.run(post_report, project, facts_of("run-b", landed=True))
    assert first == again != other
    said = Talk(project.store).comments("2")
    assert ["LuminaGuard run run-a" in said[0].text, "LuminaGuard run run-b" in said[1].text] == [True, True]
    assert len(said) == 2
    assert "1 of 1 issue landed" in said[0].text


def test_no_place_is_a_fault_that_says_what_to_set(tmp_path: Path) -> None:
    project = project_with(tmp_path, "")
    with pytest.raises(UserFault, match="no place for a report") as raised:
        anyio.run(post_report, project, facts_of("run-a", landed=True))
    assert 'issue = "12" under [report]' in raised.value.hint
