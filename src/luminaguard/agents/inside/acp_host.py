"""What an agent may ask of us while it works: leave to do something, and the files of its workspace.

Some ask for files though we never say that we can give them.
"""

# ruff: noqa: ARG002 the protocol's arguments have their names and are given, wanted or not

import asyncio
import os
from pathlib import Path
from typing import Any

import acp
from acp import schema

from luminaguard.agents.inside import speech
from luminaguard.agents.inside.acp_policy import decide, is_history, is_inside, paths_of, picked
from luminaguard.agents.inside.acp_updates import Updates
from luminaguard.agents.inside.gateway import Gateway
from luminaguard.agents.inside.task import Task


class Host:
    """The client's side of the protocol, as `acp.Client` names it."""

    def __init__(self, told: Task, gateway: Gateway, updates: Updates) -> None:
        self._told, self._gateway, self._updates = told, gateway, updates
        self._root = os.getcwd()  # noqa: PTH109 text
        self._answers: dict[str, bool] = {}

    async def session_update(self, session_id: str, update: Any, **kwargs: Any) -> None:
        """Tell what goes on."""
        self._updates.take(update)

    async def request_permission(
        self, session_id: str, tool_call: schema.ToolCallUpdate, options: list[schema.PermissionOption], **kwargs: Any
    ) -> schema.RequestPermissionResponse:
        """Answer by the policy, or let a person answer."""
        call = self._updates.called(tool_call)
        named = call.paths or paths_of(call.raw)
        decided = decide(call.kind, named, root=self._root, policy=self._told.ask, is_review=self._told.is_review)
        ok = await self._asked(call.wish) if decided == "ask" else decided == "allow"
        if not ok:
            speech.tell(f"denied: {call.wish}")
        option = picked([(it.kind, it.option_id) for it in options], ok=ok)
        if option is None:
            return schema.RequestPermissionResponse(outcome=schema.DeniedOutcome(outcome="cancelled"))
        return schema.RequestPermissionResponse(outcome=schema.AllowedOutcome(outcome="selected", option_id=option))

    async def _asked(self, wish: str) -> bool:
        if wish not in self._answers:
            speech.tell(f"asks: {wish}")
            answer = await asyncio.to_thread(self._gateway.ask, wish, wait_s=self._told.ask_s)
            words = {True: "yes", False: "no", None: f"nobody said so in {self._told.ask_s:.0f} s: no"}
            speech.tell(f"answered: {words[answer]}")
            self._answers[wish] = answer is True
        return self._answers[wish]

    async def read_text_file(
        self, session_id: str, path: str, line: int | None = None, limit: int | None = None, **kwargs: Any
    ) -> schema.ReadTextFileResponse:
        """Give a file of the workspace."""
        place = self._place(path)
        try:
            lines = place.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            # Told apart: agents look so whether a file is there before they make it.
            raise acp.RequestError.resource_not_found(path) from None
        except (OSError, UnicodeDecodeError) as exc:
            raise acp.RequestError.invalid_params({"path": path, "why": str(exc)}) from None
        first = max(0, (line or 1) - 1)
        return schema.ReadTextFileResponse(content="".join(lines[first : None if limit is None else first + limit]))

    async def write_text_file(
        self, session_id: str, path: str, content: str, **kwargs: Any
    ) -> schema.WriteTextFileResponse:
        """Write a file of the workspace."""
        place = self._place(path)
        if self._told.is_review or is_history(path, self._root):
            raise acp.RequestError.invalid_params({"path": path, "why": "it may not be changed"})
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, encoding="utf-8")
        except OSError as exc:
            raise acp.RequestError.invalid_params({"path": path, "why": str(exc)}) from None
        return schema.WriteTextFileResponse()

    def _place(self, path: str) -> Path:
        if not is_inside(path, self._root):
            raise acp.RequestError.invalid_params({"path": path, "why": "it is outside the workspace"})
        return Path(self._root) / path

    async def create_terminal(self, session_id: str, command: str, **kwargs: Any) -> None:
        """Run nothing: we never said that we can, and the agent has its own shell."""
        raise acp.RequestError.method_not_found("terminal/create")

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Know no others."""
        raise acp.RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Ignore what we do not know."""
