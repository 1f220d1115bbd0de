"""The real key is nowhere where an agent, a reader of files or a neighbour could find it."""

import base64
import json
import threading
from dataclasses import replace
from pathlib import Path

from tests.gateway.conftest import REAL, Open, Stage, wait_until
from tests.gateway.upstream import Asked, Reply, event, stream

from luminaguard.gateway.base import Provider

PATHS = (
    "/anthropic/v1/messages",
    "/openai/v1/responses",
    "/openai/v1/chat/completions",
    "/gemini/v1beta/models/m:generateContent",
)


def telling(asked: Asked) -> Reply:
    """Give the key back in every way that a provider has."""
    shown = json.dumps(asked.headers)
    if asked.json.get("how") == "error":
        return Reply(status=401, headers=[("x-debug", REAL), ("www-authenticate", REAL)], pieces=[shown.encode()])
    if asked.json.get("how") == "cut":
        key = REAL.encode()
        return stream(b'data: {"text": "', key[:7], key[7:20], key[20:], b'"}\n\n', event({"usage": None}))
    return Reply(headers=[("x-debug", f"Bearer {REAL}"), ("content-type", "application/json")], pieces=[shown.encode()])


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_key_comes_back_in_no_way_and_stands_in_no_file(open_stage: Open, tmp_path: Path) -> None:
    stage = open_stage(transcripts=tmp_path / "state" / "transcripts")
    stage.upstream.script = telling
    for path in PATHS:
        for how in ("error", "cut", "plain"):
            answer = stage.client().call(path, {"model": "m", "how": how, "words": "asked"})
            assert REAL not in repr(answer)
            assert answer.body
    assert len([asked for asked in stage.upstream.asked if REAL in repr(asked.headers)]) == 12
    files = everything(tmp_path)
    assert b"asked" in files  # the transcripts are there
    for spelled in (REAL.encode(), base64.b64encode(REAL.encode())):
        assert spelled not in files


def test_what_takes_the_place_of_a_key_is_as_long(stage: Stage) -> None:
    said = json.dumps({"echo": REAL, "after": "stays"}).encode()
    stage.upstream.script = lambda asked: Reply(pieces=[said])
    answer = stage.client().call("/openai/v1/responses", {"model": "m"})
    assert answer.body == said.replace(REAL.encode(), b"*" * len(REAL))


def test_an_error_on_the_way_does_not_tell_the_key(open_stage: Open) -> None:
    # A key that cannot stand in a header makes the client's own library speak of it.
    bad = Provider(name="openai", api="openai", base_url="http://127.0.0.1:1", key=f"{REAL}\nx")
    stage = open_stage(providers=(bad,))
    answer = stage.client().call("/openai/v1/responses", {"model": "m"})
    assert answer.status >= 500
    assert REAL.encode() not in answer.body + stage.running.log.read_bytes()


def test_the_key_is_in_no_process_list_and_no_environment(stage: Stage) -> None:
    stage.client().call("/openai/v1/responses", {"model": "m"})
    pid = stage.running.pid
    for name in ("cmdline", "environ"):
        assert REAL.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert b"gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        assert REAL.encode() not in _read(path)


def test_the_environment_of_the_gateway_holds_no_keys_of_ours(stage: Stage) -> None:
    names = {line.partition(b"=")[0] for line in Path(f"/proc/{stage.running.pid}/environ").read_bytes().split(b"\0")}
    assert not {name for name in names if b"KEY" in name or b"TOKEN" in name}


def test_no_process_of_this_user_may_look_into_its_memory(stage: Stage) -> None:
    # What is not dumpable belongs to root in /proc, whoever it runs as, and cannot be traced by its own user.
    status = Path(f"/proc/{stage.running.pid}/environ").stat()
    limits = Path(f"/proc/{stage.running.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert status.st_uid == 0
    assert core.split()[4:6] == ["0", "0"]


def test_the_configuration_does_not_show_the_key(stage: Stage) -> None:
    assert REAL not in repr(stage.config)


def test_a_transcript_has_both_bodies_and_the_cost(open_stage: Open, tmp_path: Path) -> None:
    stage = open_stage(transcripts=tmp_path / "transcripts")
    usage = {"input_tokens": 10, "output_tokens": 5}
    stage.upstream.script = lambda asked: stream(event({"response": {"model": "gpt-6-sol", "usage": usage}}))
    client = stage.client(replace(stage.worker, issue="a/b"))  # type: ignore[arg-type]
    client.call("/openai/v1/responses?x=1", {"model": "gpt-6-sol", "secret": client.key})
    wait_until(lambda: everything(tmp_path / "transcripts").endswith(b"\n"))
    files = list((tmp_path / "transcripts").iterdir())
    line = json.loads(files[0].read_text())
    assert (len(files), files[0].stat().st_mode & 0o777) == (1, 0o600)
    assert (line["status"], line["input_tokens"], line["output_tokens"], line["usd"]) == (200, 10, 5, 0.00007)
    assert json.loads(line["request"])["secret"] == "*" * len(client.key)
    assert "response" in line["answer"]


def test_a_transcript_is_kept_of_a_call_that_its_caller_left(open_stage: Open, tmp_path: Path) -> None:
    stage = open_stage(transcripts=tmp_path / "transcripts")
    held = threading.Event()
    stage.upstream.script = lambda asked: stream(event({"delta": "first"}), event({}), held=held)
    with stage.client().asked("/openai/v1/responses", {"model": "m"}) as answer:
        answer.read(10)
    held.set()
    stage.client().call("/openai/v1/models")
    wait_until(lambda: b"first" in everything(tmp_path / "transcripts"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
