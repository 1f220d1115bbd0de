"""Calls to the gateway: models, a person's words, questions to a person."""

import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOOK_S = 20.0
SLACK_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer. `status` 0: there was none, and `body` says why."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Give the body as JSON, None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Gateway:
    """The one address that there is behind the walls. One request at a time."""

    def __init__(self, url: str, key: str) -> None:
        split = urllib.parse.urlsplit(url)
        self._host, self._port = split.hostname or "127.0.0.1", split.port or 80
        self._key = key
        self._after = 0

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; an answer that never comes is an `Answer` too."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        raw = None if body is None else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self._key}", "content-type": "application/json", **(headers or {})}
        try:
            connection.request(method, path, body=raw, headers=sent)
            response = connection.getresponse()
            return Answer(status=response.status, body=response.read())
        except (OSError, http.client.HTTPException) as exc:
            return Answer(status=0, body=f"{type(exc).__name__}: {exc}".encode())
        finally:
            connection.close()

    def words(self) -> str:
        """Give what a person has said since the last time, "" where nothing.

        Asking again is what tells the gateway that the last words were taken in: ask when the agent has them.
        """
        path = f"/luminaguard/words?after={self._after}&wait_s=0"
        answer = self.send("GET", path, timeout_s=SLACK_S)
        found = answer.json() if answer.status == 200 else None
        words = found.get("words", []) if isinstance(found, dict) else []
        if not words:
            return ""
        self._after = max(int(word["number"]) for word in words)
        return "\n\n".join(str(word["text"]) for word in words)

    def ask(self, what: str, *, wait_s: float) -> bool | None:
        """Put a question to a person and wait for the answer; None where nobody gave one in time."""
        answer = self.send("POST", "/luminaguard/questions", {"what": what}, timeout_s=SLACK_S)
        asked = answer.json() if answer.status in {200, 201} else None
        if not isinstance(asked, dict) or "id" not in asked:
            return None
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            look_s = min(LOOK_S, left_s)
            path = f"/luminaguard/questions/{asked['id']}?wait_s={look_s:.1f}"
            found = self.send("GET", path, timeout_s=look_s + SLACK_S)
            said = found.json() if found.status == 200 else None
            if isinstance(said, dict) and isinstance(said.get("answer"), bool):
                return bool(said["answer"])
            if said is None:  # the gateway is starting again
                time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
        return None
