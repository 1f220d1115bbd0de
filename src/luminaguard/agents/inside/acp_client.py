"""Our side of the Agent Client Protocol: starts the agent, gives it the prompt, answers what it asks, ends it."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from typing import Any, cast

import acp
from acp import schema

from luminaguard.agents.inside import driver, processes, speech, task
from luminaguard.agents.inside.acp_host import Host
from luminaguard.agents.inside.acp_updates import Updates
from luminaguard.agents.inside.gateway import Gateway
from luminaguard.agents.inside.task import EndedError, StoppedError, Task

START_S = 120.0
CANCEL_S, EOF_S, TERM_S = 1.0, 1.0, 1.0
"""A stop is done within 4 s: after 5 the walls go."""
CLOSE_S = 5.0
LINE_BYTES = 64 * 1024 * 1024
STDERR_LINES = 20
STOPS = {
    "max_tokens": "the model's answer grew too long",
    "max_turn_requests": "it has used all its turns",
    "refusal": "the model refused",
    "cancelled": "it was cancelled",
}
FAILED_WORDS = re.compile(
    r"^\W*(api error|error\b.{0,200}\b[45]\d\d\b|unexpected status [45]\d\d|failed to authenticate"
    r"|stream disconnected before completion)",
    re.IGNORECASE | re.MULTILINE,
)
"""How the agents tested begin a line about a call that failed."""
REVIEW_MODES = ("read-only", "plan")
Begun = schema.NewSessionResponse | schema.ResumeSessionResponse | schema.LoadSessionResponse


class Conversation:
    """One agent process and one session with it."""

    def __init__(self, told: Task, child: Process) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._told, self._child = told, child
        self._root = os.getcwd()  # noqa: PTH109 text
        self._updates = Updates(root=self._root, most=told.turns)
        self.gateway = Gateway(told.gateway, told.key)
        host = Host(told, self.gateway, self._updates)
        # It answers what we said that we can do; the package says no to all else.
        self._agent = acp.connect_to_agent(cast("acp.Client", host), child.stdin, child.stdout)
        self._session = ""
        self._may_close = False

    async def begin(self) -> None:
        """Say hello, and take up the session of an earlier attempt or begin one."""
        hello = await self._agent.initialize(
            protocol_version=acp.PROTOCOL_VERSION,
            # Its own hands are best: behind the walls it sees the same files as we do. Some ask us all the same.
            client_capabilities=schema.ClientCapabilities(
                fs=schema.FileSystemCapabilities(read_text_file=False, write_text_file=False)
            ),
            client_info=schema.Implementation(name="luminaguard", version="1"),
        )
        able = hello.agent_capabilities or schema.AgentCapabilities()
        sessions = able.session_capabilities
        self._may_close = bool(sessions and sessions.close)
        kept = task.kept_session(self._told)
        begun: Begun | None = await self._taken_up(kept, able) if kept else None
        if begun is None:
            new = await self._agent.new_session(cwd=self._root, mcp_servers=[])
            self._session, begun = new.session_id, new
        task.keep_session(self._told, self._session)
        await self._choose(begun.config_options or [], begun.modes)

    async def _taken_up(self, session: str, able: schema.AgentCapabilities) -> Begun | None:
        self._session = session
        try:
            if able.session_capabilities and able.session_capabilities.resume:
                return await self._agent.resume_session(session_id=session, cwd=self._root, mcp_servers=[])
            if able.load_session:
                self._updates.is_silent = True  # it tells all that was said before once more
                return await self._agent.load_session(session_id=session, cwd=self._root, mcp_servers=[])
        except acp.RequestError:
            speech.tell("note: the session of the earlier attempt is not there any more; a new one begins")
        finally:
            self._updates.is_silent = False
        return None

    async def _choose(self, options: list[Any], modes: schema.SessionModeState | None) -> None:
        """Set model and mode, where the agent lets us."""
        selects = [option for option in options if isinstance(option, schema.SessionConfigOptionSelect)]
        if self._told.model:
            await self._set("model", self._told.model, selects)
        wanted = REVIEW_MODES if self._told.is_review else (self._told.mode,) if self._told.mode else ()
        offered = {name for it in selects if it.category == "mode" for name in _values(it)}
        for mode in wanted:
            if mode in offered:
                await self._set("mode", mode, selects)
                return
            if modes is not None and mode in {it.id for it in modes.available_modes}:
                await self._agent.set_session_mode(session_id=self._session, mode_id=mode)
                return
        if self._told.mode and not self._told.is_review:
            known = sorted(offered | {it.id for it in modes.available_modes} if modes else offered)
            raise EndedError(f"the agent offers no mode '{self._told.mode}'; it offers {', '.join(known) or 'none'}")

    async def _set(self, what: str, value: str, options: list[schema.SessionConfigOptionSelect]) -> None:
        option = next((it for it in options if what in {it.category, it.id}), None)
        if option is None:
            return  # it was told in its own configuration
        found = next((it for it in _values(option) if it == value or it.endswith(f"/{value}")), None)
        if found is None:
            # Many take names that they do not list.
            speech.tell(f"note: the agent does not list the {what} '{value}'; it keeps '{option.current_value}'")
        elif found != option.current_value:
            await self._agent.set_config_option(session_id=self._session, config_id=option.id, value=found)

    async def turn(self, prompt: str) -> None:
        """Give a prompt and see it to its end.

        Raises:
            EndedError: the turn did not end as it should.
        """
        asked = asyncio.ensure_future(self._agent.prompt(session_id=self._session, prompt=[acp.text_block(prompt)]))
        others = [asyncio.ensure_future(self._child.wait()), asyncio.ensure_future(self._updates.exhausted.wait())]
        self._updates.words = ""
        try:
            await asyncio.wait([asked, *others], return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                await self._unfinished(asked)
            answer = await asked
        except ConnectionError:
            await asyncio.wait(others[:1], timeout=CLOSE_S)
            raise EndedError(self._died()) from None
        except acp.RequestError as exc:
            # Its words before say more than the error: which of them it was that the gateway refused.
            words = self._updates.words if FAILED_WORDS.search(self._updates.words) else ""
            raise EndedError(task.reason_of(f"{words} {exc} {exc.data or ''}")) from None
        finally:
            if not asked.done():
                await self._cancelled(asked)
            for other in others:
                other.cancel()
        self._updates.end(answer.usage)
        if answer.stop_reason != "end_turn":
            raise EndedError(STOPS[answer.stop_reason])
        # Three of the agents tested end their turn in peace when the model cannot be called.
        if FAILED_WORDS.search(self._updates.words):
            raise EndedError(task.reason_of(self._updates.words))

    async def _unfinished(self, asked: "asyncio.Future[schema.PromptResponse]") -> None:
        if self._updates.exhausted.is_set():
            raise EndedError(f"it has used all its turns ({self._told.turns})")
        # Its last words may still be on their way.
        await asyncio.wait([asked], timeout=CANCEL_S)
        if not asked.done():
            raise EndedError(self._died())

    def _died(self) -> str:
        return f"it ended in the middle of its turn (exit code {self._child.returncode})"

    async def _cancelled(self, asked: "asyncio.Future[schema.PromptResponse]") -> None:
        with contextlib.suppress(OSError, acp.RequestError, TimeoutError):
            await asyncio.wait_for(self._agent.cancel(session_id=self._session), CANCEL_S)
            await asyncio.wait([asked], timeout=CANCEL_S)
        asked.cancel()

    async def close(self) -> None:
        """Close the session, where the agent knows how; its file stays."""
        if self._may_close:
            with contextlib.suppress(OSError, acp.RequestError, TimeoutError):
                await asyncio.wait_for(self._agent.close_session(session_id=self._session), CLOSE_S)

    async def hang_up(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(OSError):
            await self._agent.close()


def _values(option: schema.SessionConfigOptionSelect) -> list[str]:
    found: list[str] = []
    for one in option.options:
        inner = one.options if isinstance(one, schema.SessionConfigSelectGroup) else [one]
        found += [it.value for it in inner]
    return found


async def _attend(told: Task, prompt: str) -> None:
    running = asyncio.current_task()
    assert running is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    child = await _spawned(told)
    said: deque[bytes] = deque(maxlen=STDERR_LINES)
    assert child.stderr is not None
    draining = asyncio.ensure_future(_drain(child.stderr, said))
    conversation = Conversation(told, child)
    try:
        await _converse(conversation, prompt)
    except (EndedError, acp.RequestError, OSError) as exc:
        raise EndedError(_why(exc, said)) from None
    finally:
        await _ended(child)
        await conversation.hang_up()
        await _emptied(child, draining)


async def _converse(conversation: Conversation, prompt: str) -> None:
    try:
        await asyncio.wait_for(conversation.begin(), START_S)
    except TimeoutError:
        raise EndedError(f"the agent has not begun within {START_S:.0f} s") from None
    while prompt:
        await conversation.turn(prompt)
        prompt = await asyncio.to_thread(conversation.gateway.words)
        if prompt:
            speech.tell(f"a person says: {prompt}")
    await conversation.close()


def _why(exc: Exception, said: "deque[bytes]") -> str:
    if isinstance(exc, acp.RequestError):
        return task.reason_of(f"{exc} {exc.data or ''}")
    words = " ".join(b"".join(said).decode(errors="replace").split())[-500:]
    if isinstance(exc, EndedError):
        return f"{exc}: {words}" if "exit code" in str(exc) and words else str(exc)
    return f"the agent cannot be spoken to ({exc}): {words}"


async def _spawned(told: Task) -> Process:
    # Not by the package's own way, which leaves stderr unread (an agent that says much there stands still), passes
    # little of the environment, and takes lines of 64 KiB at most.
    try:
        return await asyncio.create_subprocess_exec(
            *told.argv,
            env=os.environ,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
        )
    except OSError as exc:
        raise EndedError(f"'{told.argv[0]}' cannot be started: {exc.strerror}") from None


async def _drain(stream: asyncio.StreamReader, said: "deque[bytes]") -> None:
    while piece := await stream.read(65_536):
        said.extend(piece.splitlines(keepends=True))


async def _ended(child: Process) -> None:
    """End the agent: the end of its input, then TERM, then KILL, for it and all that it has started."""
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), EOF_S)
    await asyncio.to_thread(processes.end_all, term_s=TERM_S)
    # It is dead; only the loop must still hear of it, and on a busy machine that takes its time.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), CLOSE_S)


async def _emptied(child: Process, draining: "asyncio.Future[None]") -> None:
    """Read what is left: the loop may not be closed before it has seen the end of all three pipes."""
    assert child.stdin is not None
    assert child.stdout is not None
    # What fails here comes too late to matter.
    reading = asyncio.gather(child.stdout.read(), draining, return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reading, CLOSE_S)
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(child.stdin.wait_closed(), CLOSE_S)


def drive(told: Task, prompt: str) -> None:
    """Give the prompt, then what a person has said meanwhile, until there is nothing more to say."""
    try:
        asyncio.run(_attend(told, prompt))
    except asyncio.CancelledError:
        raise StoppedError from None


def main() -> int:
    """Do what the environment says."""
    return driver.run(drive)


if __name__ == "__main__":
    sys.exit(main())
