"""What a reviewer prints, whatever it is: findings, or a clear no answer; never an error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.gates.review import ANSWER_BYTES, MOST_BEGINS, TEXT_CHARS, Answer, parse_answer
from luminaguard.model.work import Finding, Severity

GOOD = {"grade": "A", "findings": [{"severity": "high", "file": "a.py", "line": 3, "text": "no"}]}
FOUND = Answer(grade="A", findings=(Finding(severity=Severity.HIGH, file="a.py", line=3, text="no"),))
NONE_FOUND = Answer(grade="", findings=())

PIECES = st.sampled_from([
    '{"findings": [', "]}", "{", "}", "[", "]", '"', "\\", ",", ":", '{"severity": "low", "text": "x"}', "null", "1e9",
    '{"findings": []}', "-", "\\ud800", "true", "\n", "```json", "9" * 5000, "NaN", '"findings"', "\0", "\udcff",
])  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=20), max_size=30).map("".join))
def test_nothing_that_is_printed_is_an_error(text: str) -> None:
    answer = parse_answer(text)
    assert answer is None or all(it.line >= 0 for it in answer.findings)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {
            "findings": st.lists(
                st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD["findings"][0], JSON)), max_size=3
            )
        },
        optional={"grade": JSON},
    )
)
def test_no_value_of_a_field_is_an_error(found: dict[str, object]) -> None:
    parse_answer(json.dumps(found))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"I looked at it.\n\n```json\n{json.dumps(GOOD, indent=2)}\n```\n",
        f'{{"findings": []}}\nOn a second look:\n{json.dumps(GOOD)}',
        f'{json.dumps(GOOD)}\n{{"usage": {{"tokens": 3}}}} and some words {{not json}}',
        f"if (x) {{ return; }} {json.dumps(GOOD)}",
    ],
    ids=["bare", "fenced", "last wins", "other objects behind", "braces before"],
)
def test_last_object_with_findings_is_the_answer(text: str) -> None:
    assert parse_answer(text) == FOUND


@pytest.mark.parametrize(
    "text",
    [
        "",
        "looks good to me",
        "[]",
        '{"findings": "none"}',
        '{"findings": [3]}',
        '{"findings": [{"severity": "terrible", "text": "x"}]}',
        '{"findings": [{"severity": "low"}]}',
        '{"findings": [{"severity": ["low"], "text": "x"}]}',
        '{"findings": [{"severity": "low", "text": 3}]}',
        '{"findings": [',
        '{"findings": []} then {"findings": [null]}',
    ],
)
def test_malformed_answer_is_none(text: str) -> None:
    assert parse_answer(text) is None


def test_no_findings_is_an_answer() -> None:
    assert parse_answer('{"findings": []}') == NONE_FOUND


@pytest.mark.parametrize("line", [-1, "3", 3.5, None, True, [1]])
def test_line_that_is_none_stands_for_the_file(line: object) -> None:
    answer = parse_answer(json.dumps({"findings": [{"severity": "low", "text": "x", "line": line}]}))
    assert answer is not None
    assert answer.findings[0].line == 0
    assert type(answer.findings[0].line) is int


@pytest.mark.parametrize("file", [None, 3, ["a.py"], {}])
def test_file_that_is_no_text_is_none(file: object) -> None:
    answer = parse_answer(json.dumps({"findings": [{"severity": "low", "text": "x", "file": file}]}))
    assert answer is not None
    assert answer.findings[0].file == ""


def test_endless_text_is_cut() -> None:
    answer = parse_answer(json.dumps({"grade": "A" * 99, "findings": [{"severity": "low", "text": "x" * 99_999}]}))
    assert answer is not None
    assert (len(answer.grade), len(answer.findings[0].text)) == (8, TEXT_CHARS)


@pytest.mark.parametrize("piece", ["{", '{"a":', "[", '{"findings":[', '"{', '{"a":1,"b":', "{9" + "9" * 5000])
def test_hostile_nesting_costs_no_more_than_its_share(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    real = json.JSONDecoder.raw_decode

    def counted(self: json.JSONDecoder, text: str, at: int = 0) -> object:
        nonlocal tries
        tries += 1
        return real(self, text, at)

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", counted)
    assert parse_answer(piece * (ANSWER_BYTES // len(piece)) + '"findings"') is None
    assert tries <= MOST_BEGINS


def test_answer_of_a_thousand_findings_is_read() -> None:
    many = {"findings": [{"severity": "low", "file": "{a}.py", "line": n, "text": "{" * 100} for n in range(1000)]}
    answer = parse_answer("words {\n" * 1000 + json.dumps(many))
    assert answer is not None
    assert len(answer.findings) == 1000
