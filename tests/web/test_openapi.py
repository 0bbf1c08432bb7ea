"""The description (OpenAPI) is true: of every answer, of every error, and of who must bear the token."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pages import PERSON, TOKEN, Page, environ, live_a_little, make_store

from paramstore import ParamStore

QUESTIONS = [
    ("values", "/values"), ("values?at=symbol=BTC", "/values"), ("values/risk.steps", "/values/{key}"), ("parameters", "/parameters"),
    ("sparklines", "/sparklines"), ("parameters/risk.size", "/parameters/{key}"), ("parameters/risk.on", "/parameters/{key}"),
    ("parameters/risk.size/history?refused=1", "/parameters/{key}/history"), ("history?refused=1", "/history"),
    ("revisions/0", "/revisions/{number}"), ("revisions/6", "/revisions/{number}"), ("diff?a=0", "/diff"), ("diff?a=1&b=5", "/diff"),
    ("contexts?b=symbol=BTC", "/contexts"), ("freezes", "/freezes"), ("health", "/health"),
]  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    store = make_store(tmp_path_factory.mktemp("openapi") / "store")
    live_a_little(store)
    with Page(store) as made:
        yield made


@pytest.fixture(scope="module")
def description(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.get("openapi.json")
    return found


def hold(description: dict[str, Any], operation: dict[str, Any], status: int, data: Any, kind: str) -> None:
    """Check data against the schema that the description gives for it."""
    schema = operation["responses"][str(status)]["content"][kind]["schema"]
    jsonschema.validate(data, {**schema, "components": description["components"]})


@pytest.mark.parametrize(("path", "described"), QUESTIONS, ids=[path for path, _ in QUESTIONS])
def test_answers_are_as_described(page: Page, description: dict[str, Any], path: str, described: str) -> None:
    operation = description["paths"][f"/api/v1{described}"]["get"]
    data = page.get(path)
    hold(description, operation, 200, data, "application/json")
    broken = {**data, "more_than_that": 1} if isinstance(data, dict) else [{"nothing": "of it"}]
    with pytest.raises(jsonschema.ValidationError):
        hold(description, operation, 200, broken, "application/json")


def test_previews_actions_and_refusals_are_as_described(page: Page, description: dict[str, Any]) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "set": {"changes": [{"key": "risk.size", "value": 1.31}]},
        "rollback": {"to": 0, "keys": "risk.stop"},
        "freeze": {"pattern": "weights"},
        "unfreeze": {"pattern": "weights"},
        "approve": {"pattern": "risk"},
    }
    for path, body in bodies.items():
        operation = description["paths"][f"/api/v1/{path}"]["post"]
        preview = page.post(path, {**PERSON, **body, "dry_run": True})
        hold(description, operation, 200, preview, "application/json")
        if path != "freeze":
            conflict = page.post(path, {**PERSON, **body}, 409)
            hold(description, operation, 409, conflict, "application/problem+json")
        given: dict[str, Any] = {"seen": preview["seen"]} if path != "freeze" else {}
        hold(description, operation, 200, page.post(path, {**PERSON, **body, **given}), "application/json")
        hold(description, operation, 400, page.post(path, {}, 400), "application/problem+json")
    refused = {**PERSON, "changes": [{"key": "risk.size", "value": 9}]}
    shown = page.post("set", {**refused, "dry_run": True})
    operation = description["paths"]["/api/v1/set"]["post"]
    hold(description, operation, 200, shown, "application/json")
    said = page.post("set", {**refused, "seen": shown["seen"]}, 422)
    hold(description, operation, 422, said, "application/problem+json")


def test_every_route_says_how_it_refuses_and_who_may_ask(description: dict[str, Any]) -> None:
    count = 0
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            count += 1
            assert operation["security"] == (
                [{"bearer": []}] if method == "post" else [{"bearer": []}, {}]
            ), path
            expected = {"400", "401", "403", "404", "405", "429", "503"}
            expected |= {"409", "413", "415", "422"} if method == "post" else set()
            assert expected <= operation["responses"].keys(), path
            assert operation["summary"]
            for status, response in operation["responses"].items():
                if status not in ("200", "202", "304"):
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Error"}
    assert count == 21
    assert description["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    assert description["openapi"].startswith("3.1")
    text = json.dumps(description)
    assert all(f'"{name}"' in text for name in ("Error", "Done", "Entry"))
    for name in {ref.split("/")[-1] for ref in refs(description)}:
        assert name in description["components"]["schemas"]


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from refs(child)
    elif isinstance(node, list):
        for child in node:
            yield from refs(child)


def test_nothing_is_offered_that_loads_from_another_host(page: Page) -> None:
    for path in ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        assert page.ask("GET", path).status_code == 404


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance"
EXAMPLES = int(os.environ.get("API_EXAMPLES", "4"))  # of each route; docs/web-api.md says how to try more


def test_schemathesis_finds_no_answer_outside_the_description(root: Path, tmp_path: Path) -> None:
    """schemathesis asks a real server of the shipped store whatever the description allows, and more: 0 server errors."""
    store = ParamStore(root, environ={})
    with store.transaction(author="ann", reason="a past to ask about") as tx:
        tx["signal_weights.funding"] = 0.15
        tx["signal_weights.hurst"] = 0.09
    folder = Path(__file__).parent
    paths = os.pathsep.join([str(folder), str(folder.parent)])
    line = [sys.executable, str(folder / "unlimited.py"), str(root)]
    with subprocess.Popen(
        line, env={**environ(), "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            done = subprocess.run(
                [
                    sys.executable, "-m", "schemathesis.cli", "run", f"{address}/api/v1/openapi.json", "--no-color",
                    "-H", f"Origin: {address}", "-H", f"Authorization: Bearer {TOKEN}", "--exclude-path", "/api/v1/events",
                    "--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--seed", "1", "--max-examples", str(EXAMPLES),
                    "--generation-database", "none",
                ],
                cwd=tmp_path, env=environ(), capture_output=True, text=True, check=False,
            )  # fmt: skip
        finally:
            process.terminate()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert int(re.search(r"(\d+) generated, \1 passed", done.stdout)[1]) > 300  # type: ignore[index]
    assert "20 selected / 21 total" in done.stdout
