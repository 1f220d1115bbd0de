"""Git over HTTP: `git http-backend` on this one repository, with our rules on what may be pushed."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream, Process
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from luminaguard.forges.face.answers import RefusalError
from luminaguard.forges.face.site import Site
from luminaguard.forges.face.tokens import Holder, Rights, Tokens
from luminaguard.forges.face.who import holder_of
from luminaguard.host.git import clean_env

LONGEST_S = 3600.0
MOST_BYTES = 2 * 1024**3
HEADER_BYTES = 64 * 1024
CHUNK = 64 * 1024

RULES = """\
#!/bin/sh
# What may be pushed here: called by git with a ref, where it stands (or zeros) and where it would stand (or zeros).
set -eu
refuse() { echo "GH006: $1" >&2; exit 1; }
none() { case $1 in *[!0]*) return 1 ;; esac; }
case $1 in
refs/heads/*) ;;
refs/tags/*) none "$2" || refuse "a tag stays where it is"; exit 0 ;;
*) refuse "only branches and tags are taken" ;;
esac
[ "$1" = "refs/heads/$LUMINAGUARD_TARGET" ] || exit 0
! none "$3" || refuse "$LUMINAGUARD_TARGET is the target and is not removed"
git merge-base --is-ancestor "$2" "$3" || refuse "$LUMINAGUARD_TARGET only goes forward"
if ahead=$(git rev-parse --quiet --verify refs/luminaguard/target); then
  git merge-base --is-ancestor "$ahead" "$3" || refuse "something landed beside $LUMINAGUARD_TARGET that is not in this"
fi
"""
CONFIG = {
    "core.fsmonitor": "false",
    "core.fsync": "loose-object,reference",
    "gc.auto": "0",
    "http.getanyfile": "false",
    "http.receivepack": "true",
    "receive.autogc": "false",
    # A checkout of the branch gets the files together with it, or the push is refused.
    "receive.denyCurrentBranch": "updateInstead",
    "receive.fsckObjects": "true",
    "receive.maxInputSize": str(MOST_BYTES),
    "transfer.hideRefs": "refs/luminaguard",
}


def write_rules(folder: Path) -> None:
    """Write the hook that git asks before it moves a ref."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "update"
    path.write_text(RULES, encoding="ascii")
    path.chmod(0o700)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartHttp:
    """The ASGI application of the git addresses: everybody with a token fetches, only the full token pushes."""

    site: Site
    tokens: Tokens
    hooks: Path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        try:
            env = await self._env(request)
        except RefusalError as refusal:
            headers = {name.replace("_", "-"): value for name, value in refusal.headers.items()}
            await PlainTextResponse(f"{refusal.message}\n", refusal.status, headers=headers)(scope, receive, send)
            return
        await _backend(env, receive, send)

    async def _env(self, request: Request) -> dict[str, str]:
        holder = await to_thread.run_sync(holder_of, request.headers.get("authorization", ""), self.tokens)
        params = request.path_params
        wanted = (params["owner"].lower(), params["repo"].lower().removesuffix(".git"))
        if wanted != (self.site.owner.lower(), self.site.name.lower()):
            raise RefusalError(404, "Repository not found")
        service = _service(request)
        if service == "git-receive-pack" and holder.rights is not Rights.FULL:
            raise RefusalError(403, "This token may fetch, not push")
        return self._environment(request, holder, service)

    def _environment(self, request: Request, holder: Holder, service: str) -> dict[str, str]:
        is_advertised = request.method == "GET"
        # No word of the caller's is part of the path: http-backend resolves it by itself.
        path = self.site.places.common / ("info/refs" if is_advertised else service)
        env = {
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_TRANSLATED": str(path),
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": f"service={service}" if is_advertised else "",
            "REMOTE_USER": holder.login,
            "REMOTE_ADDR": "127.0.0.1",
            "LUMINAGUARD_TARGET": self.site.target,
            **_config({**CONFIG, "core.hooksPath": str(self.hooks)}),
            **_said(request.headers),
        }
        return clean_env(env)


def _service(request: Request) -> str:
    if request.method == "GET":
        service = request.query_params.get("service", "")
    else:
        service = request.url.path.rpartition("/")[2]
    if service not in ("git-upload-pack", "git-receive-pack"):
        raise RefusalError(403, "Only git's smart protocol is spoken here")
    return service


def _config(values: Mapping[str, str]) -> dict[str, str]:
    env = {"GIT_CONFIG_COUNT": str(len(values))}
    for index, (key, value) in enumerate(values.items()):
        env |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return env


def _said(headers: Mapping[str, str]) -> dict[str, str]:
    """Take over the headers that http-backend understands, where they are of the form that it expects."""
    forms = {
        "content-type": ("CONTENT_TYPE", r"application/x-git-[a-z-]+"),
        "content-length": ("CONTENT_LENGTH", r"[0-9]{1,15}"),
        "content-encoding": ("HTTP_CONTENT_ENCODING", r"(?:x-)?gzip"),
        "git-protocol": ("GIT_PROTOCOL", r"version=[0-9]"),
    }
    found = {name: headers.get(header, "") for header, (name, _) in forms.items()}
    return {name: found[name] for name, form in forms.values() if re.fullmatch(form, found[name])}


async def _backend(env: Mapping[str, str], receive: Receive, send: Send) -> None:
    argv = ("git", "http-backend")
    process = await anyio.open_process(
        argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with anyio.move_on_after(LONGEST_S):
            async with anyio.create_task_group() as group:
                group.start_soon(_feed, process, receive)
                await _answer(process, send)
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            _end(process)
            await process.wait()
            await process.aclose()


def _end(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ended at this very moment
            os.killpg(process.pid, signal.SIGKILL)


async def _feed(process: Process, receive: Receive) -> None:
    """Pass the body on; then wait, and end the program when nobody listens any more."""
    assert process.stdin is not None
    taken, more = 0, True
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            _end(process)
            return
        body = message.get("body", b"")
        taken += len(body)
        if taken > MOST_BYTES:
            _end(process)
            return
        try:
            if more and body:
                await process.stdin.send(body)
            if more and not message.get("more_body", False):
                more = False
                await process.stdin.aclose()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            more = False  # it has heard enough: what it says to that is the answer


async def _answer(process: Process, send: Send) -> None:
    assert process.stdout is not None
    head, rest = await _head(process.stdout)
    status, headers = _parsed(head)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": rest, "more_body": True})
    async for chunk in process.stdout:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _head(out: ByteReceiveStream) -> tuple[bytes, bytes]:
    got = b""
    while b"\r\n\r\n" not in got and len(got) < HEADER_BYTES:
        try:
            got += await out.receive(CHUNK)
        except anyio.EndOfStream:
            return b"Status: 502 Bad Gateway\r\nContent-Type: text/plain", b"git gave no answer\n"
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


def _parsed(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    status, headers = 200, []
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"status":
            status = int(value.split()[0])
        elif name:
            headers.append((name.lower(), value.strip()))
    return status, headers
