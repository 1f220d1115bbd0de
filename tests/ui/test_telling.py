"""How errors end a process: the code, the words, the report file."""

import json
from pathlib import Path

import pytest

from luminaguard.model.faults import Fault, HostFault, Transient, UserFault
from luminaguard.ui.cli.crash import crash_text
from luminaguard.ui.cli.exits import Exit, exit_of, single_errors, worst
from luminaguard.ui.cli.printing import Printer, ReaderLeftError, Style, Styled, clean
from luminaguard.ui.cli.telling import tell


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "luminaguard"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserFault("a"), 2),
        (HostFault("a"), 3),
        (Transient("a"), 4),
        (Fault("a"), 70),
        (ValueError("a"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_of(error) == code


def test_a_bug_outweighs_the_host_the_user_and_the_passing() -> None:
    order = [Exit.BUG, Exit.HOST, Exit.USER, Exit.AGAIN]
    assert [worst(order[start:]) for start in range(4)] == order


def test_a_person_who_interrupts_outweighs_what_breaks_by_it() -> None:
    assert worst([Exit.HOST, Exit.INTERRUPTED]) == Exit.INTERRUPTED


def test_faults_in_nested_groups_are_all_told_and_the_worst_decides(capsys: pytest.CaptureFixture[str]) -> None:
    inner = ExceptionGroup("inner", [Transient("slow", hint="wait"), UserFault("wrong")])
    assert tell(BaseExceptionGroup("outer", [inner, HostFault("broken")]), ()) == 3
    assert capsys.readouterr().err == "error: slow\nhint: wait\nerror: wrong\nerror: broken\n"


def test_the_same_fault_of_several_tasks_is_told_once() -> None:
    group = ExceptionGroup(
        "tasks", [HostFault("full"), HostFault("full"), HostFault("gone"), ValueError(), ValueError()]
    )
    assert len(single_errors(group)) == 4


def test_several_errors_in_json_are_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(ExceptionGroup("tasks", [UserFault("a"), HostFault("b", hint="c")]), ("--json",)) == 3
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert printed.err == ""
    assert told["error"] == {"kind": "host", "message": "b", "hint": "c", "exit_code": 3}
    assert [error["message"] for error in told["errors"]] == ["a", "b"]


def test_an_interrupt_says_that_work_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(KeyboardInterrupt(), ()) == 130
    assert "luminaguard run goes on" in capsys.readouterr().err


def test_a_reader_that_left_is_not_talked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(ExceptionGroup("tasks", [ReaderLeftError()]), ()) == 130
    assert capsys.readouterr() == ("", "")


def test_a_bug_leaves_a_report_without_the_environment(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "tell-nobody")
    assert tell(ZeroDivisionError("by zero"), ("plan", "7")) == 70
    (report,) = state.iterdir()
    assert str(report) in capsys.readouterr().err
    text = report.read_text()
    assert "['plan', '7']" in text
    assert "ZeroDivisionError: by zero" in text
    assert "tell-nobody" not in text
    assert report.stat().st_mode & 0o777 == 0o600


def test_a_report_that_fits_nowhere_still_ends_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    assert tell(ValueError("x"), ()) == 70
    assert "with what you typed" in capsys.readouterr().err


def test_a_report_has_the_traceback() -> None:
    with pytest.raises(ValueError, match="Expecting") as raised:
        json.loads("{")
    assert "test_a_report_has_the_traceback" in crash_text(raised.value, ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc\r\nd", "a\tb\nc\nd"),
        ("\x1b[31mred\x1b]0;title\x07", "[31mred]0;title"),
        ("a\rb\x00\x7f\x9b31m", "ab31m"),
        ("txt\u202egpj.exe\u2066\u200f", "txtgpj.exe"),
        ("\ud800ü☃", "ü☃"),
    ],
)
def test_text_of_strangers_cannot_steer_the_terminal(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_line_is_cleaned_and_a_style_is_dropped_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().line("a\x1b[1m ", Styled("b\x1b", Style.GREEN))
    assert capsys.readouterr().out == "a[1m b\n"


def test_lines_make_room_for_the_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(is_json=True)
    printer.line("progress")
    printer.document({"schema": "x@1", "text": "ü\x1b"})
    printed = capsys.readouterr()
    assert printed.err == "progress\n"
    assert json.loads(printed.out) == {"schema": "x@1", "text": "ü\x1b"}
    assert "\x1b" not in printed.out
