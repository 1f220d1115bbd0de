import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser

import pytest

from luminaguard.model.facts import Fact
from luminaguard.model.ids import Json
from luminaguard.reports.escape import prose
from luminaguard.reports.html import report_html
from luminaguard.reports.markdown import report_markdown
from luminaguard.reports.view import RunView, run_view
from luminaguard.reports.wording import clock, cut, lasting

Rows = list[tuple[float, str, str, Mapping[str, Json]]]
FactsOf = Callable[[Rows], tuple[Fact, ...]]


def section(report: str, name: str) -> str:
    return report.partition(f"## {name}\n")[2].partition("\n## ")[0]


def hostile_run(facts_of: FactsOf, text: str) -> RunView:
    files: list[Json] = [{"path": text, "added": 1, "removed": 0}]
    findings: list[Json] = [{"severity": "high", "file": text, "line": 1, "text": text}]
    return run_view(
        facts_of(
            [
                (0, "run", "started", {"target": text, "checks": [text], "notices": [text]}),
                (0, "run", "session", {"isolation": "namespace", "reason": text}),
                (1, "7", "planned", {"title": text, "deliverables": [text], "branch": text}),
                (2, "7", "attempt:1", {"why": text}),
                (3, "7", "agent:1", {"commit": text or None, "files": files, "log": text}),
                (4, "7", "published:1", {"branch": text, "pull_request": text}),
                (5, "7", "review:1", {"ok": True, "findings": findings, "grade": text}),
                (6, "7", "landed", {"commit": text, "tree": text, "files": files, "checkouts": [text]}),
                (7, "8", "planned", {"title": text}),
                (8, "8", "held:1", {"why": text, "who": text, "how": text, "group": "work"}),
            ]
        )
    )


def test_report_of_the_seed_run_says_what_landed(seed_facts: tuple[Fact, ...]) -> None:
    report = report_markdown(run_view(seed_facts))
    assert "3 of 3 issues landed on `main`: 3 files, +251 -0." in report
    assert "3 agent starts, 3 check runs, 0 conflicts" in report
    merges = section(report, "Merges")
    assert "| #154 Platform-Agnostic VM Abstraction Layer | 182 | `feature/issue-154` | `000000000000` |" in merges
    assert "`orchestrator/src/vm/hypervisor.rs` +41 -0" in merges
    assert section(report, "Final verification").count("| yes |") == 3
    assert "8 findings: 8 low." in section(report, "Findings")
    assert section(report, "Checks").count("| yes |") == 3
    assert f"`{154 + 2000:040x}`" in section(report, "Checks")
    assert "| T+0:00:37.0 | #154 | issue closed |" in section(report, "Timeline")
    assert "- [x] `orchestrator/src/vm/hypervisor.rs`\n" in section(report, "Deliverables")
    assert "| Lower bound | 50 s (the wall time is 1.62 times this) |" in section(report, "Statistics")
    assert "| Money | 0.75 USD |" in section(report, "Statistics")
    assert "In force: `namespace`: no KVM here." in section(report, "Isolation")


def test_report_says_what_is_held_and_what_to_type(facts_of: FactsOf) -> None:
    hold: dict[str, Json] = {
        "why": "three attempts failed",
        "who": "you",
        "how": "luminaguard retry 7",
        "group": "work",
    }
    rows: Rows = [(0, "7", "planned", {"title": "T"}), (1, "7", "held:1", hold)]
    held = section(report_markdown(run_view(facts_of(rows))), "Held and failed")
    assert "| #7 T | held | three attempts failed | you | `luminaguard retry 7` |" in held


def test_report_tells_no_findings_from_no_review(facts_of: FactsOf) -> None:
    unreviewed = run_view(facts_of([(0, "7", "planned", {})]))
    reviewed = run_view(facts_of([(0, "7", "review:1", {"ok": True})]))
    assert section(report_markdown(unreviewed), "Findings").strip() == "No review was asked for."
    assert section(report_markdown(reviewed), "Findings").strip() == "No findings."


def test_report_claims_no_verification_that_was_not_made(facts_of: FactsOf) -> None:
    report = report_markdown(run_view(facts_of([(0, "7", "planned", {})])))
    assert "yes" not in section(report, "Final verification")


def test_every_table_row_keeps_its_cells_whatever_is_written_in_it(facts_of: FactsOf, hostile: str) -> None:
    report = report_markdown(hostile_run(facts_of, hostile))
    for block in re.findall(r"(?:^\|.*\n?)+", report, re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in block.splitlines()}
        assert len(counts) == 1, block


def test_markdown_report_holds_no_html_and_no_heading_of_others(facts_of: FactsOf, hostile: str) -> None:
    report = report_markdown(hostile_run(facts_of, hostile))
    outside_code = re.sub(r"`[^`\n]*`", "", report)
    assert set(re.findall(r"<[^>]*>?", outside_code)) <= {"<br>"}
    assert not re.search(r"(?<!\\)\]\(", outside_code)
    assert len(re.findall(r"^## ", report, re.MULTILINE)) == 10


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))
        if tag not in {"meta", "br", "rect"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag


def tags_of(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    assert not tags.open
    return tags


def test_html_report_has_the_same_tags_whatever_is_written_in_it(facts_of: FactsOf, hostile: str) -> None:
    tags = tags_of(report_html(hostile_run(facts_of, hostile or "x")))
    assert tags.seen == tags_of(report_html(hostile_run(facts_of, "harmless"))).seen


def test_html_report_reaches_for_nothing_outside_itself(seed_facts: tuple[Fact, ...]) -> None:
    html = report_html(run_view(seed_facts))
    tags = tags_of(html)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags.seen}
    assert not {"src", "href", "onload"} & {name for _, names in tags.seen for name in names}
    assert "http:" not in html
    assert "https:" not in html


def test_html_report_draws_a_bar_for_each_piece_of_work(seed_facts: tuple[Fact, ...]) -> None:
    html = report_html(run_view(seed_facts))
    assert html.count('<rect class="agent"') == 3 + 1, "one is in the legend"
    assert html.count('<rect class="checks"') == 3 + 1
    assert html.count('<rect class="queue"') == 3 + 1
    assert "<title>checks 5.0 s</title>" in html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("20260213-162640", "20260213-162640"),
        ("1. first", "1\\. first"),
        ("# head", "\\# head"),
        ("#9 is new", "#&#8203;9 is new"),
        ("- item", "\\- item"),
        ("a_b | `c_d` <e>", "a\\_b \\| `c_d` &lt;e&gt;"),
        ("``a`` `b|c`", "\\`\\`a\\`\\` \\`b\\|c\\`"),
    ],
)
def test_only_what_markdown_would_obey_is_escaped(text: str, shown: str) -> None:
    assert prose(text) == shown


CALLS = re.compile(r"@\w|(?<!&)#\d|GH-\d|https?://\S+/(?:issues|pull|merge\\?_requests|discussions)/\d", re.IGNORECASE)
"""What a forge would take for a person or an issue, in text that is no code."""


@pytest.mark.parametrize(
    "text",
    [
        *("@team fixes #3", "closes owner/name#3", "resolves GH-3", "&#64;team &amp;#3", "\\@team \\#3"),
        *("fixes https://forge.test/o/r/issues/3", "see http://lab.test/g/s/p/-/merge_requests/3", "a@b"),
    ],
)
def test_what_strangers_write_calls_nobody_and_names_no_issue_in_a_comment(facts_of: FactsOf, text: str) -> None:
    report = report_markdown(hostile_run(facts_of, text))
    shown = re.sub(r"`[^`\n]*`", "", report)
    of_ours = re.sub(r"#[78]\b", "", shown)
    assert CALLS.findall(of_ours) == []


def test_times_are_written_for_people() -> None:
    assert [clock(0), clock(59.96), clock(3723.4)] == ["0:00:00.0", "0:01:00.0", "1:02:03.4"]
    assert [lasting(0.44), lasting(59.4), lasting(59.6), lasting(125), lasting(3599.7), lasting(7380)] == [
        "0.4 s",
        "59 s",
        "1 min 00 s",
        "2 min 05 s",
        "1 h 00 min",
        "2 h 03 min",
    ]


def test_wide_letters_count_double() -> None:
    assert cut("界界界界", width=7) == "界界..."
    assert cut("abcd", width=4) == "abcd"
    assert cut("abcde", width=2) == ".."
