"""Our own small agent: a model, a shell, an editor, and a loop around them."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from luminaguard.agents.inside import driver, speech, task
from luminaguard.agents.inside.builtin_tools import TOOLS, Tool, ToolError
from luminaguard.agents.inside.builtin_wires import WIRES, Asked, Call, Message, Result, Said, Wire
from luminaguard.agents.inside.gateway import Answer, Gateway
from luminaguard.agents.inside.task import EndedError, Task

CALL_S = 900.0
RETRY_AFTER_S = (1.0, 2.0, 4.0, 8.0, 16.0)
CONTEXT_CHARS = 400_000
KEPT_RESULTS, KEPT_CHARS = 6, 200
CUTS = 3
WORK = """\
You are a programmer at work on one task in the repository that is your working folder, {folder}. Nobody watches: do
not ask, decide. Look before you change; make the smallest change that does what is asked, in the style of what is
there; run the tests that concern it. Commit with git when it is done. Then say in a sentence or two what you did, and
use no more tools: that ends the work.
"""
REVIEW = """\
You review a change in the repository that is your working folder, {folder}. You can read files, and change none. Look
at what you need to see, then answer in the form that is asked for, and use no more tools: that ends the review.
"""


@dataclass(slots=True, kw_only=True)
class Talk:
    """A conversation with the model, kept within bounds."""

    wire: Wire
    gateway: Gateway
    told: Task
    system: str
    tools: Sequence[Tool]
    messages: list[Message] = field(default_factory=list)
    tokens_in: int = 0
    tokens_out: int = 0

    def next(self) -> Said:
        """Let the model say its next.

        Raises:
            EndedError: no answer can be had.
        """
        self.shorten(CONTEXT_CHARS)
        room = CONTEXT_CHARS
        for _ in range(CUTS):
            answer = self._sent()
            if answer.status == 200:
                return self._heard(answer)
            if answer.status not in {400, 413} or not task.reason_of(_words(answer)).startswith("the context"):
                raise EndedError(task.reason_of(f"{answer.status or ''} {_words(answer)}"))
            room //= 2
            self.shorten(min(room, self.chars() // 2))
        raise EndedError("the context is full, and nothing in it can be shortened any more")

    def _heard(self, answer: Answer) -> Said:
        said = self.wire.read(answer.json())
        self.messages.append(said)
        self.tokens_in += said.tokens_in
        self.tokens_out += said.tokens_out
        return said

    def _sent(self) -> Answer:
        """Make the call, again where the other side is to blame."""
        path = f"/{self.told.provider}{self.wire.path}"
        for wait_s in (*RETRY_AFTER_S, None):
            body = self.wire.body(self.told.model, self.system, self.messages, self.tools)
            answer = self.gateway.send("POST", path, body, timeout_s=CALL_S, headers=self.wire.headers)
            if wait_s is None or (0 < answer.status < 500 and answer.status != 408):
                return answer
            speech.tell(f"note: the model call failed ({answer.status or _words(answer)}); again in {wait_s:.0f} s")
            time.sleep(wait_s)
        raise AssertionError

    def chars(self) -> int:
        """Count what would be sent."""
        return sum(len(it.text) if isinstance(it, Asked | Result) else len(str(it.raw)) for it in self.messages)

    def shorten(self, most_chars: int) -> None:
        """Shorten old results, oldest first, to half of what may be sent: rarely, as it spoils the provider's cache."""
        over = self.chars() - most_chars
        if over <= 0:
            return
        over += most_chars // 2
        results = [message for message in self.messages if isinstance(message, Result)]
        for result in results[:-KEPT_RESULTS]:
            if over <= 0:
                break
            short = speech.shortened(result.text, KEPT_CHARS)
            over -= len(result.text) - len(short)
            result.text = short


def _words(answer: Answer) -> str:
    found = answer.json()
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(error or answer.body.decode(errors="replace")[:500])


def used(call: Call, tools: Mapping[str, Tool]) -> str:
    """Use a tool and give what the model is told of it."""
    tool = tools.get(call.name)
    if tool is None:
        return f"error: there is no tool {call.name}; there are {', '.join(tools)}"
    if call.arguments is None:
        return "error: the arguments are no JSON object"
    try:
        return tool.use(call.arguments)
    except ToolError as exc:
        return f"error: {exc}"


def drive(told: Task, prompt: str) -> None:
    """Work until the model uses no more tools and nobody has anything to say."""
    wire = WIRES.get(told.api)
    if wire is None:
        raise EndedError(f"the built-in agent speaks {' and '.join(WIRES)}, not {told.api}")
    tools = tuple(tool for tool in TOOLS if not (told.is_review and tool.changes))
    system = (REVIEW if told.is_review else WORK).format(folder=os.getcwd())  # noqa: PTH109 as text
    gateway = Gateway(told.gateway, told.key)
    talk = Talk(wire=wire, gateway=gateway, told=told, system=system, tools=tools)
    talk.messages.append(Asked(text=prompt))
    try:
        for _ in range(told.turns):
            if _turn(talk, gateway):
                return
    finally:
        speech.usage(tokens_in=talk.tokens_in, tokens_out=talk.tokens_out)
    raise EndedError(f"it has used all its turns ({told.turns})")


def _turn(talk: Talk, gateway: Gateway) -> bool:
    """Hear, think, act; True when the work is ended."""
    _hear(talk, gateway)
    said = talk.next()
    speech.end_line()
    speech.say(said.text)
    speech.end_line()
    if said.is_refusal:
        raise EndedError(f"the model refused: {' '.join(said.text.split())[:300]}")
    named = {tool.name: tool for tool in talk.tools}
    # Each call must have its result before anything else is said.
    talk.messages += [Result(id=call.id, text=used(call, named)) for call in said.calls]
    if said.calls:
        return False
    if said.is_cut:
        talk.messages.append(Asked(text="Your answer was cut off. Go on where it ended."))
        return False
    return not _hear(talk, gateway)


def _hear(talk: Talk, gateway: Gateway) -> bool:
    words = gateway.words()
    if words:
        speech.tell(f"a person says: {words}")
        talk.messages.append(Asked(text=f"A person who watches the work says:\n{words}"))
    return bool(words)


def main() -> int:
    """Do what the environment says."""
    return driver.run(drive)


if __name__ == "__main__":
    sys.exit(main())
