"""A stand-in for the Firecracker program: it holds every request and their order to the published description.

It opens the files that it is told of, listens where Firecracker would, and lets a guest answer that says hello and then
gives every byte back. It runs no guest code. `main` makes it a program with Firecracker's command line.
"""

import argparse
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import yaml

CONTRACT = yaml.safe_load((Path(__file__).parent / "contracts/firecracker.yaml").read_text(encoding="utf-8"))
TYPES = {"string": str, "integer": int, "boolean": bool}


class Refused(Exception):  # noqa: N818 the word that the driver uses
    """What Firecracker would answer with status 400."""


def route_of(method: str, path: str) -> str:
    """Give the call's key in the contract."""
    parts = path.split("/")
    name = f"{method} /drives/{{drive_id}}" if parts[1] == "drives" and len(parts) == 3 else f"{method} {path}"
    if name not in CONTRACT["calls"]:
        raise Refused(f"Invalid request method and/or path: {method} {path}")
    return name


def check(kind: object, value: object, where: str = "body") -> None:
    """Hold a value to its type in the contract."""
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise Refused(f"{where}: not a list")
        for number, item in enumerate(value):
            check(kind[0], item, f"{where}[{number}]")
        return
    if isinstance(kind, str) and kind in TYPES:
        if type(value) is not TYPES[kind]:
            raise Refused(f"{where}: {value!r} is no {kind}")
        return
    rules = CONTRACT["objects"][kind]
    if not isinstance(value, dict):
        raise Refused(f"{where}: not an object")
    for name in rules["required"]:
        if name not in value:
            raise Refused(f"{where}: missing field `{name}`")
    for name, item in value.items():
        if name not in rules["fields"]:
            raise Refused(f"{where}: unknown field `{name}`")
        field = rules["fields"][name]
        check(field["type"], item, f"{where}.{name}")
        _check_bounds(field, item, f"{where}.{name}")


def _check_bounds(field: dict[str, Any], item: Any, where: str) -> None:
    if "choices" in field and item not in [str(choice) for choice in field["choices"]]:
        raise Refused(f"{where}: unknown variant `{item}`")
    if field["type"] == "integer" and not field.get("least", item) <= item <= field.get("most", item):
        raise Refused(f"{where}: {item} is out of bounds")


class Machine:
    """What Firecracker knows of its guest."""

    def __init__(self) -> None:
        self.state = "Not started"
        self.configured: set[str] = set()
        self.vsock = ""
        self.memory_mib = 128

    def take(self, method: str, path: str, body: Any) -> None:
        route = route_of(method, path)
        self._check_order(route)
        check(CONTRACT["calls"][route]["body"], body)
        self._obey(route, path, body)
        self.configured.add(route)

    def _check_order(self, route: str) -> None:
        when = CONTRACT["calls"][route].get("when")
        is_started = self.state != "Not started"
        if when in ("before", "fresh") and is_started:
            raise Refused("The requested operation is not supported after starting the microVM.")
        if when == "after" and not is_started:
            raise Refused("The requested operation is not supported before starting the microVM.")
        if when == "fresh" and self.configured - {"PUT /logger", "PUT /metrics"}:
            raise Refused("Loading a microVM snapshot not allowed after configuring boot-specific resources.")

    def _obey(self, route: str, path: str, body: Any) -> None:
        if route == "PUT /logger":
            _open(body["log_path"], "a")
        elif route == "PUT /metrics":
            _open(body["metrics_path"], "a")
        elif route == "PUT /machine-config":
            self.memory_mib = body["mem_size_mib"]
        elif route == "PUT /boot-source":
            _open(body["kernel_image_path"], "rb")
            _open(body["initrd_path"], "rb")
        elif route.startswith("PUT /drives"):
            if path != f"/drives/{body['drive_id']}":
                raise Refused("The id from the path does not match the id from the body!")
            _open(body["path_on_host"], "rb" if body["is_read_only"] else "r+b")
        elif route == "PUT /vsock":
            self.vsock = body["uds_path"]
        elif route == "PUT /actions" and body["action_type"] == "InstanceStart":
            self._start()
        elif route == "PATCH /vm":
            self.state = {"Paused": "Paused", "Resumed": "Running"}[body["state"]]
        elif route == "PUT /snapshot/create":
            self._freeze(body)
        elif route == "PUT /snapshot/load":
            self._thaw(body)

    def _start(self) -> None:
        if "PUT /boot-source" not in self.configured:
            raise Refused("Cannot start microvm without kernel configuration.")
        if self.state != "Not started":
            raise Refused("The requested operation is not supported after starting the microVM.")
        self.state = "Running"
        if self.vsock:
            listen(self.vsock)

    def _freeze(self, body: Any) -> None:
        if self.state != "Paused":
            raise Refused("Cannot create a snapshot of a running microVM.")
        Path(body["mem_file_path"]).write_bytes(b"memory")
        Path(body["snapshot_path"]).write_text(json.dumps({"vsock": self.vsock}), encoding="utf-8")

    def _thaw(self, body: Any) -> None:
        if ("mem_backend" in body) == ("mem_file_path" in body):
            raise Refused("too many or too few fields: mem_backend and mem_file_path exclude each other")
        _open(body["mem_backend"]["backend_path"], "rb")
        self.vsock = json.loads(Path(body["snapshot_path"]).read_text(encoding="utf-8"))["vsock"]
        self.state = "Running" if body.get("resume_vm") else "Paused"
        listen(self.vsock)


def _open(path: str, mode: str) -> None:
    try:
        open(path, mode).close()  # noqa: PTH123 the mode is the point
    except OSError as exc:
        raise Refused(f"{path}: {exc.strerror}") from exc


def listen(path: str) -> None:
    """Listen as Firecracker does for a guest with a vsock; the guest is not ready before the second call."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def serve() -> None:
        first, _ = server.accept()
        first.recv(64)
        first.close()  # nobody listens in the guest yet
        while True:
            threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def answer(stream: socket.socket) -> None:
    """Be the guest agent of one connection."""
    asked = b""
    while not asked.endswith(b"\n"):
        asked += stream.recv(1)
    if asked not in {b"CONNECT 5000\n", b"CONNECT 4999\n"}:
        stream.close()
        return
    greeting = bytes.fromhex(os.environ.get("FAKE_GREETING", b"hello".hex())) if b"5000" in asked else b"mux"
    stream.sendall(b"OK 1073741824\n" + greeting)
    while data := stream.recv(4096):
        stream.sendall(data)


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        request, _ = super().get_request()
        return request, ("local", 0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    machine = Machine()
    record: Path | None = None

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        try:
            self.machine.take(self.command, self.path, body)
        except Refused as refused:
            said = json.dumps({"fault_message": str(refused)}).encode()
            self.send_response(400)
        else:
            said = b""
            self.send_response(204)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_PUT = do_PATCH = do_GET = _serve  # noqa: N815 the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Firecracker is quiet as well."""


def main() -> None:
    if "--version" in sys.argv:
        print(f"Firecracker v{os.environ.get('FAKE_VERSION', '1.12.0')}")  # noqa: T201 it is a program
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--api-sock", required=True)
    parser.add_argument("--start-time-us", type=int)  # the jailer adds these two
    parser.add_argument("--start-time-cpu-us", type=int)
    chosen = parser.parse_args()
    if end := os.environ.get("FAKE_ENDS"):
        sys.exit(end)
    if os.environ.get("FAKE_HANGS"):
        threading.Event().wait()
    Server(chosen.api_sock, Handler).serve_forever()


if __name__ == "__main__":
    main()
