"""What the last word on an issue is: landed, cancelled, stopped, or taken up again."""

from luminaguard.engine.book import Book
from luminaguard.model.facts import Fact


def is_over(book: Book, issue: str) -> bool:
    """Tell whether an issue has landed, or nobody wants it any more."""
    word = book.last(issue, "landed", "cancelled", "retry")
    return word is not None and word.name != "retry"


def is_cancelled(book: Book, issue: str) -> bool:
    """Tell whether somebody has said that it is not wanted any more, landed or not."""
    word = book.last(issue, "cancelled", "retry")
    return word is not None and word.name == "cancelled"


def is_stopped(book: Book, issue: str) -> bool:
    """Tell whether it waits for a person who has not answered yet."""
    stop, lift = book.last(issue, "held", "failed", "rejected"), book.last(issue, "retry", "released", "cancelled")
    return stop is not None and (lift is None or lift.seq < stop.seq)


def answer_to(book: Book, asked: Fact) -> Fact | None:
    """Find a person's answer to an `approval_asked`; an older one was about an earlier attempt."""
    answer = book.last(asked.subject, "approved", "rejected")
    return answer if answer is not None and answer.seq > asked.seq else None
