"""An agent that speaks ACP by a script in the prompt: JSON, a list of acts. Standard library only; a program.

Acts: {"say": text}, {"tool": {...update}}, {"ask": {...tool call}} (what came of it is said), {"call": method,
"params": {...}} (a request to the client; its answer is said), {"stderr": bytes}, {"hang": true}, {"die": code},
{"error": message}, {"stop": reason}. A prompt that is no JSON is said back.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SESSIONS = Path.home() / "sessions.json"
OPTIONS = [
    {"optionId": "once", "name": "Once", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


class Agent:
    def __init__(self) -> None:
        self.session = ""
        self.number = 0
        self.cancelled = False

    def send(self, said: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **said}) + "\n")
        sys.stdout.flush()

    def update(self, update: dict[str, Any]) -> None:
        self.send({"method": "session/update", "params": {"sessionId": self.session, "update": update}})

    def say(self, text: str) -> None:
        content = {"type": "text", "text": text}
        self.update({"sessionUpdate": "agent_message_chunk", "content": content})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask the client, and wait for its answer; a cancellation may come first."""
        self.number += 1
        self.send({"id": f"a{self.number}", "method": method, "params": {"sessionId": self.session, **params}})
        while True:
            said = self.read()
            if said.get("id") == f"a{self.number}":
                return said

    def read(self) -> dict[str, Any]:
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        said: dict[str, Any] = json.loads(line)
        if said.get("method") == "session/cancel":
            self.cancelled = True
            Path("CANCELLED").write_text("yes")
        return said

    def serve(self) -> None:
        while True:
            said = self.read()
            if "id" in said and "method" in said:
                try:
                    answer = self.answer(said["method"], said.get("params", {}))
                except LookupError as exc:
                    self.send({"id": said["id"], "error": {"code": -32603, "message": str(exc.args[0])}})
                else:
                    self.send({"id": said["id"], "result": answer})

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            able = {"loadSession": True, "sessionCapabilities": {"resume": {}, "close": {}}}
            return {"protocolVersion": 1, "agentCapabilities": able, "authMethods": []}
        if method == "session/new":
            self.session = f"s{os.getpid()}"
            SESSIONS.write_text(json.dumps([*self.known(), self.session]))
            return {"sessionId": self.session, "modes": self.modes(), "configOptions": self.options()}
        if method == "session/resume":
            if params["sessionId"] not in self.known():
                raise LookupError("no such session")
            self.session = params["sessionId"]
            return {"modes": self.modes(), "configOptions": self.options()}
        if method in {"session/set_mode", "session/set_config_option"}:
            with Path("SET").open("a") as file:
                file.write(f"{params.get('modeId') or params.get('configId')}={params.get('value', '')}\n")
            return {"configOptions": self.options()} if "config" in method else {}
        return self.play(params["prompt"][0]["text"]) if method == "session/prompt" else {}

    def known(self) -> list[str]:
        found: list[str] = json.loads(SESSIONS.read_text()) if SESSIONS.exists() else []
        return found

    def modes(self) -> dict[str, Any]:
        modes = [{"id": name, "name": name} for name in ("default", "plan", "free")]
        return {"currentModeId": "default", "availableModes": modes}

    def options(self) -> list[dict[str, Any]]:
        models = [{"value": name, "name": name} for name in ("prov/one", "prov/two")]
        return [
            {
                "id": "model",
                "name": "Model",
                "category": "model",
                "type": "select",
                "currentValue": "prov/one",
                "options": models,
            }
        ]

    def play(self, prompt: str) -> dict[str, Any]:
        try:
            acts = json.loads(prompt)
        except ValueError:
            acts = [{"say": f"heard in {self.session}: {prompt}"}]
        stop = "end_turn"
        for act in acts:
            stop = self.act(act) or stop
        return {"stopReason": "cancelled" if self.cancelled else stop}

    def act(self, act: dict[str, Any]) -> str | None:
        (what, how), *more = act.items()
        match what:
            case "say":
                self.say(how)
            case "tool":
                self.update({"sessionUpdate": "tool_call", "toolCallId": "t1", "title": "it", **how})
            case "ask":
                said = self.ask("session/request_permission", {"toolCall": how, "options": OPTIONS})
                self.say(f"outcome {said['result']['outcome'].get('optionId', 'none')}\n")
            case "call":
                said = self.ask(how, more[0][1])
                self.say(json.dumps(said.get("result") or said.get("error") or {}) + "\n")
            case "stderr":
                sys.stderr.write("x" * how + "\n")
                sys.stderr.flush()
            case "spawn":
                os.spawnlp(os.P_NOWAIT, "setsid", "setsid", "sh", "-c", "echo $$ > SLEEPING; exec sleep 600")
            case "hang":
                while not self.cancelled or how == "deaf":
                    self.read() if how != "deaf" else time.sleep(1)
            case "die":
                os._exit(how)
            case "error":
                raise LookupError(how)
            case "stop":
                return str(how)
        return None


if __name__ == "__main__":
    Agent().serve()
