"""The nouns: ids sort as people count, kinds are taken apart, a fence holds what it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luminaguard.model.facts import Fact
from luminaguard.model.fence import fenced
from luminaguard.model.ids import RunId, natural
from luminaguard.model.work import Severity


def test_ids_sort_as_people_count() -> None:
    ids = ["10", "9", "x-10", "x-2", "1.10", "1.9", "BACK-1", "quarry-42q8.4", "quarry-42q8.10"]
    assert sorted(ids, key=natural) == [
        *("1.9", "1.10", "9", "10", "BACK-1", "quarry-42q8.4", "quarry-42q8.10", "x-2", "x-10"),
    ]


@given(st.lists(st.text(), unique=True))
def test_ids_that_differ_have_keys_that_differ(ids: list[str]) -> None:
    assert len(set(map(natural, ids))) == len(ids)


@pytest.mark.parametrize(
    ("kind", "name", "number"),
    [("ready", "ready", 0), ("agent:2", "agent", 2), ("placed:12.3", "placed", 12), ("odd:x.1", "odd", 0)],
)
def test_kind_is_a_name_and_a_number(kind: str, name: str, number: int) -> None:
    fact = Fact(seq=1, time=0.0, run=RunId("r"), subject="1", kind=kind, data={})
    assert (fact.name, fact.number) == (name, number)


@given(st.text())
def test_fence_holds_the_text_as_it_is_behind_a_word_that_the_text_does_not_have(text: str) -> None:
    first, *_, last = (told := fenced("issue", text)).split("\n")
    nonce = first.split()[1].rstrip(":")
    assert told == f"{first}\n{text}\n{last}"
    assert nonce in last
    assert nonce not in text


def test_severities_rank_from_mild_to_critical() -> None:
    assert sorted(Severity, key=lambda it: it.rank) == ["low", "medium", "high", "critical"]
