"""Words for agents and questions of agents, as programs inside ask for them."""

import threading
import time

import pytest
from tests.gateway.conftest import Answered, Stage, wait_until


def test_words_are_given_and_heard_when_asked_for_what_comes_after(stage: Stage) -> None:
    who = stage.worker
    stage.ledger.say(stage.run, who.issue, number=1, text="use tabs")
    stage.ledger.say(stage.run, who.issue, number=4, text="or spaces")
    client = stage.client()
    first = client.call("/luminaguard/words?after=0&wait_s=5").json
    assert first == {"words": [{"number": 1, "text": "use tabs"}, {"number": 4, "text": "or spaces"}]}
    assert stage.ledger.heard(stage.run, who.issue) == 0
    assert client.call("/luminaguard/words?after=4").json == {"words": []}
    assert stage.ledger.heard(stage.run, who.issue) == 4


def test_words_that_come_while_an_agent_waits_reach_it_then(stage: Stage) -> None:
    answers: list[Answered] = []
    thread = threading.Thread(
        target=lambda: answers.append(stage.client().call("/luminaguard/words?after=0&wait_s=60"))
    )
    thread.start()
    stage.ledger.say(stage.run, stage.worker.issue, number=1, text="now")
    began = time.monotonic()
    thread.join()
    assert answers[0].json == {"words": [{"number": 1, "text": "now"}]}
    assert time.monotonic() - began < 50


def test_words_are_for_the_issue_and_for_who_works_on_it(stage: Stage) -> None:
    stage.ledger.say(stage.run, stage.worker.issue, number=1, text="now")
    for other in (stage.holder("13"), stage.holder("12", 1, "review")):
        assert stage.client(other).call("/luminaguard/words?after=0").json == {"words": []}
    assert stage.client(stage.holder("12", 2)).call("/luminaguard/words?after=0").json["words"]


@pytest.mark.parametrize("ok", [True, False])
def test_a_question_is_asked_and_answered(stage: Stage, *, ok: bool) -> None:
    client = stage.client()
    asked = client.call("/luminaguard/questions", {"what": "run: make deploy\n\x1b[2J"}).json
    assert client.call(f"/luminaguard/questions/{asked['id']}").json == {"answer": None}
    question = stage.ledger.questions(stage.run)[0]
    assert (question.id, question.issue, question.attempt) == (asked["id"], "12", 1)
    assert question.what.isprintable()
    stage.ledger.answer(question.id, ok=ok)
    assert client.call(f"/luminaguard/questions/{asked['id']}?wait_s=20").json == {"answer": ok}


def test_a_question_of_another_is_not_answered(stage: Stage) -> None:
    number = stage.client().call("/luminaguard/questions", {"what": "x"}).json["id"]
    assert stage.client(stage.holder("13")).call(f"/luminaguard/questions/{number}").status == 404


@pytest.mark.parametrize("said", [{}, {"what": 7}, {"what": "  "}, [], b"no json"])
def test_a_question_without_words_is_refused(stage: Stage, said: object) -> None:
    assert stage.client().call("/luminaguard/questions", said).status == 400


@pytest.mark.parametrize("path", ["words", "questions/1", "anything"])
def test_nobody_is_told_anything_without_a_key(stage: Stage, path: str) -> None:
    assert stage.client().call(f"/luminaguard/{path}", headers={"authorization": "x"}).status == 401


def test_other_paths_are_not_there(stage: Stage) -> None:
    assert stage.client().call("/luminaguard/else").status == 404


def test_one_that_stops_waiting_is_let_go(stage: Stage) -> None:
    connection = stage.client().connection()
    connection.request("GET", "/luminaguard/words?wait_s=60", headers={"authorization": f"Bearer {stage.client().key}"})
    connection.close()
    stage.ledger.say(stage.run, stage.worker.issue, number=1, text="now")
    wait_until(lambda: stage.client().call("/luminaguard/words").json["words"] != [])
