"""What people say on a pull request of the local tracker."""

from collections.abc import Iterator, Sequence

from luminaguard.forges.base import Remark, Stand
from luminaguard.forges.store import Comment
from luminaguard.forges.talk import Review, ReviewState

OWNER = "owner"
"""Nobody else speaks in the tracker: reviews and comments on pull requests take the owner's full token."""

_STAND: dict[ReviewState, Stand] = {"CHANGES_REQUESTED": "changes", "APPROVED": "approved"}


def is_person(author: str) -> bool:
    """Tell a person from a bot, ours among them."""
    return not author.endswith("[bot]")


def remarks_of(reviews: Sequence[Review], comments: Sequence[Comment]) -> tuple[Remark, ...]:
    """List what people say in reviews, on lines and beneath, oldest first; only each one's last verdict stands."""
    verdicts = {it.author: it.seq for it in reviews if it.state in _STAND}
    found = [
        *(remark for it in reviews if is_person(it.author) for remark in _of_review(it, verdicts)),
        *(_of_comment(it) for it in comments if is_person(it.author)),
    ]
    return tuple(sorted(found, key=lambda it: it.time))


def _of_review(it: Review, verdicts: dict[str, int]) -> Iterator[Remark]:
    stand: Stand = _STAND[it.state] if verdicts.get(it.author) == it.seq else "said"
    if it.text.strip() or stand != "said":
        yield Remark(
            id=f"review-{it.seq}",
            author=it.author,
            association=OWNER,
            text=it.text,
            stand=stand,
            time=it.time,
            commit=it.head,
        )
    for line in it.lines:
        yield Remark(
            id=f"line-{line.seq}",
            author=it.author,
            association=OWNER,
            text=line.text,
            stand="changes" if stand == "changes" else "said",
            time=it.time,
            commit=it.head,
            path=line.path,
            line=line.line or 0,
        )


def _of_comment(it: Comment) -> Remark:
    return Remark(id=f"comment-{it.seq}", author=it.author, association=OWNER, text=it.text, stand="said", time=it.time)
