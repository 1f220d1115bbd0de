from luminaguard.model.ids import IssueId, natural
from luminaguard.model.plan import Touch
from luminaguard.planner.overlaps import Overlaps, overlaps_of


def overlaps(files: dict[str, tuple[str, ...]], needs: dict[str, tuple[str, ...]] | None = None) -> Overlaps:
    ids = sorted(map(IssueId, files), key=natural)
    return overlaps_of(
        {one: tuple(Touch(path=path, source="named", confidence=0.5) for path in files[one]) for one in ids},
        {one: frozenset(map(IssueId, (needs or {}).get(one, ()))) for one in ids},
    )


def pairs(result: Overlaps) -> list[tuple[str, str]]:
    return [(one.a, one.b) for one in result.overlaps]


def test_more_shared_files_are_more_probable() -> None:
    result = overlaps({"10": ("a", "b"), "9": ("b", "a", "c"), "11": ("c",)})
    assert [(one.a, one.b, one.paths, one.probability) for one in result.overlaps] == [
        ("9", "10", ("a", "b"), 0.438),
        ("9", "11", ("c",), 0.25),
    ]
    assert result.notices == ()


def test_issues_in_line_behind_each_other_do_not_overlap() -> None:
    files: dict[str, tuple[str, ...]] = {"1": ("a",), "2": (), "3": ("a",)}
    assert pairs(overlaps(files, {"3": ("2",), "2": ("1",)})) == []
    assert pairs(overlaps(files, {"3": ("2",)})) == [("1", "3")]


def test_hot_files_say_nothing() -> None:
    everywhere: dict[str, tuple[str, ...]] = {str(number): ("everywhere.py",) for number in range(4)}
    assert pairs(overlaps(everywhere)) == []
    assert len(pairs(overlaps(dict(list(everywhere.items())[:3])))) == 3
    assert pairs(overlaps({"1": ("docs/CHANGELOG.md", "Cargo.lock"), "2": ("docs/CHANGELOG.md", "Cargo.lock")})) == []


def test_only_the_200_most_probable_are_listed_and_the_rest_is_counted() -> None:
    files: dict[str, tuple[str, ...]] = {str(number): (f"m{number // 3}.py",) for number in range(300)}
    files |= {"300": ("x", "y"), "301": ("x", "y")}
    result = overlaps(files)
    assert len(result.overlaps) == 200
    assert pairs(result)[0] == ("300", "301")
    assert result.notices[0].text.startswith("101 less probable overlaps are not listed")


def test_files_that_thousands_name_do_not_stop_the_planner() -> None:
    files: dict[str, tuple[str, ...]] = {
        str(number): tuple(f"m{number % 7}-{deep}.py" for deep in range(20)) for number in range(2000)
    }
    result = overlaps(files)
    assert len(result.overlaps) == 200
    assert "on files that very many issues name" in result.notices[0].text
