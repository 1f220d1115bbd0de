"""How an error is told: to a person on standard error, to a program as one JSON document."""

from collections.abc import Sequence
from dataclasses import dataclass

from luminaguard.model.faults import Fault
from luminaguard.model.ids import Json
from luminaguard.ui.cli.crash import write_crash_report
from luminaguard.ui.cli.exits import KINDS, Exit, exit_of, single_errors, worst
from luminaguard.ui.cli.printing import Printer, ReaderLeftError, Style, Styled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    exit_code: Exit
    message: str
    hint: str


def tell(error: BaseException, words: Sequence[str]) -> Exit:
    """Print an error, or all of a group, and give the exit code; `words` are what was typed."""
    errors = single_errors(error)
    told = tuple(_told(one, words) for one in errors if not isinstance(one, ReaderLeftError))
    code = worst(exit_of(one) for one in errors)
    try:
        if told and "--json" in words:
            _print_json(told, code)
        else:
            _print_lines(told, Printer(wants_colour="--no-color" not in words))
    except (ReaderLeftError, Fault):
        pass  # nobody reads, or nothing can be written: the exit code is all that is left to say
    return code


def _told(error: BaseException, words: Sequence[str]) -> _Told:
    code = exit_of(error)
    if isinstance(error, Fault):
        return _Told(exit_code=code, message=error.message, hint=error.hint)
    if code is Exit.INTERRUPTED:
        return _Told(exit_code=code, message="interrupted", hint="work is kept; luminaguard run goes on")
    report = write_crash_report(error, words)
    hint = f"please report it, with the file {report}" if report else "please report it, with what you typed"
    return _Told(exit_code=code, message=f"this is a bug in luminaguard: {type(error).__name__}: {error}", hint=hint)


def _print_lines(told: Sequence[_Told], printer: Printer) -> None:
    for one in told:
        printer.note(Styled("error:", Style.RED), f" {one.message}")
        if one.hint:
            printer.note(Styled("hint:", Style.BLUE), f" {one.hint}")


def _print_json(told: Sequence[_Told], code: Exit) -> None:
    errors = [_as_json(one) for one in told]
    worst_error = next(error for one, error in zip(told, errors, strict=True) if one.exit_code is code)
    Printer(is_json=True).document({"schema": "luminaguard/error@1", "error": worst_error, "errors": [*errors]})


def _as_json(told: _Told) -> dict[str, Json]:
    return {
        "kind": KINDS[told.exit_code],
        "message": told.message,
        "hint": told.hint,
        "exit_code": told.exit_code.value,
    }
