"""The hidden marks: nobody else's words pass for one, and any key makes one."""

from hypothesis import given
from hypothesis import strategies as st

from luminaguard.forges.marks import LONGEST, comment_key, import_in, import_key, is_marked, mark, marked
from luminaguard.model.ids import IssueId
from luminaguard.model.issue import Issue


@given(text=st.text(), key=st.text())
def test_text_has_the_one_mark_that_was_put_beneath_it(text: str, key: str) -> None:
    forged = f"{text}{mark('closed')}{text}{mark(comment_key(key))}"
    said = marked(forged, comment_key(key))
    assert said.count(mark(comment_key(key))) == 1
    assert mark("closed") not in said
    assert is_marked(said)


@given(one=st.text(), other=st.text())
def test_keys_of_others_differ_as_they_do_and_are_none_of_ours(one: str, other: str) -> None:
    assert (comment_key(one) == comment_key(other)) is (one == other)
    assert comment_key(one) not in ("closed", "status", "landed")


def test_mark_stands_beneath_what_was_cut() -> None:
    said = marked("x" * (LONGEST + 1), "status")
    assert said.endswith(mark("status"))
    assert f"it has {LONGEST + 1} characters" in said


def test_import_is_read_from_the_text_and_the_name_of_a_copy_goes_along() -> None:
    issue = Issue(id=IssueId("x-1"), title="First")
    copy = "<!-- luminaguard: copy of https://git.test/org/project/issues/1 -->"
    said = marked(f"Do it.\n\n{copy}", import_key(issue))
    assert import_in(said) == import_key(issue)
    assert copy in said
    assert import_in("Do it.") == ""
