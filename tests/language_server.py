"""A client of an editor's language server: the protocol over standard input and output, as editors speak it."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TIMEOUT_S = 30.0


class LanguageServer:
    """A server that runs while the block does. ``settings`` is what it gets when it asks for the editor's."""

    def __init__(self, command: Sequence[str], folder: Path, settings: dict[str, Any]) -> None:
        self._command = command
        self._folder = folder
        self._settings = settings
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._diagnostics: queue.Queue[dict[str, Any]] = queue.Queue()
        self._asked = 0
        self._version = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._listen, daemon=True).start()
        folder = {"uri": self._folder.as_uri(), "name": "store"}
        document = {"hover": {"contentFormat": ["markdown"]}, "completion": {"completionItem": {}}}
        capabilities = {
            "textDocument": document,
            "workspace": {"configuration": True, "workspaceFolders": True},
        }
        self.ask(
            "initialize",
            processId=None,
            rootUri=folder["uri"],
            workspaceFolders=[folder],
            capabilities=capabilities,
        )
        self.tell("initialized")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def open(self, path: Path, text: str) -> list[dict[str, Any]]:
        """Open a file as an editor whose user has typed ``text`` there; return what the server finds wrong with it."""
        self._version += 1
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": self._version, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)
        while True:
            found = self._diagnostics.get(timeout=TIMEOUT_S)
            if found["uri"] == path.as_uri():
                return list(found["diagnostics"])

    def at(self, method: str, path: Path, line: int, character: int) -> Any:
        """Ask ``completion`` or ``hover`` for a position, both counted from 0."""
        position = {"line": line, "character": character}
        return self.ask(f"textDocument/{method}", textDocument={"uri": path.as_uri()}, position=position)

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request and return the result."""
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        while True:
            answer = self._answers.get(timeout=TIMEOUT_S)
            if answer["id"] == self._asked:
                assert "error" not in answer, answer
                return answer["result"]

    def tell(self, method: str, **params: Any) -> None:
        """Send what needs no answer."""
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.removeprefix(b"Content-Length:"))
            while stream.readline().strip():
                pass  # other headers
            self._take(json.loads(stream.read(length)))

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("method") == "textDocument/publishDiagnostics":
            self._diagnostics.put(message["params"])
        elif "method" not in message:
            self._answers.put(message)
        elif "id" in message:  # the server asks: for settings, or to register what it can do
            items = (
                message["params"].get("items", []) if message["method"] == "workspace/configuration" else None
            )
            result = (
                None if items is None else [self._settings.get(item.get("section", ""), {}) for item in items]
            )
            self._send({"id": message["id"], "result": result})
