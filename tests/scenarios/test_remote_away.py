"""A remote that goes away while agents are at work, and comes back."""

from collections.abc import Callable

from stage import WAIT, WORK, Stage, go

SETTINGS = '[landing]\nremote = "origin"\n'


def test_remote_that_is_away_for_a_while_is_waited_for_and_nothing_is_done_twice(one: Callable[..., Stage]) -> None:
    stage = one(WORK + WAIT, settings=SETTINGS)
    remote = stage.root.parent / "remote.git"
    stage.git("init", "-q", "--bare", "-b", "main", str(remote))
    stage.git("remote", "add", "origin", str(remote))
    stage.git("push", "-q", "origin", "main")
    session = stage.start("--poll-s", "0.2")
    stage.wait_for_word("1", "waiting")
    away = remote.rename(remote.with_suffix(".away"))
    go(stage).touch()
    stage.wait_for("what it waits for", lambda: stage.facts("1", "waiting"))
    assert "origin" in str(stage.facts("1", "waiting")[0].data["why"])
    away.rename(remote)
    assert session.wait(timeout=stage.patience_s) == 0, stage.said(session)
    assert len(stage.facts("1", "waiting")) == 1
    assert stage.starts("1") == 1
    stage.must_be_whole(landed=["1"])
    assert stage.git("--git-dir", str(remote), "rev-parse", "main") == stage.git("rev-parse", "main")
