"""The files of the page: found by name alone, whole, and let through the policy by the very hash of what is sent."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files

import pytest

from paramstore.web import _page

STATIC = files("paramstore.web") / "static"
SCRIPT = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
IMPORT = re.compile(r"""(?:\bfrom\s+|\bimport\s*\(?\s*)["']([^"']+)["']""")


def sent_map() -> str:
    found = SCRIPT.search(_page.shell().body.decode())
    assert found is not None
    return found[1]


def test_the_hash_is_that_of_the_import_map_as_it_is_sent() -> None:
    digest = base64.b64encode(hashlib.sha256(sent_map().encode()).digest()).decode()
    assert _page.map_hash() == f"'sha256-{digest}'"


def test_every_module_that_is_imported_is_in_the_map_and_served() -> None:
    imports = json.loads(sent_map())["imports"]
    for asset in _page.assets().values():
        if asset.module is None or not asset.module.startswith("app/"):
            continue
        for name in IMPORT.findall(asset.body.decode()):
            assert name in imports, (
                f"{asset.name} imports {name}"
            )  # a relative name would not work in a report
    for address in imports.values():
        found = _page.respond(address)
        assert found is not None
        assert (found.status, found.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")


def test_what_the_shell_links_to_is_served() -> None:
    links = re.findall(r'(?:href|src)="(/[^"]*)"', _page.source())
    assert len(links) >= 3
    assert all(_page.respond(link) is not None for link in links)


def test_the_shell_holds_no_script_and_no_style_of_its_own() -> None:
    text = _page.source()
    assert re.findall(r"<script(?![^>]*(?:src=|importmap))", text) == []
    assert "style=" not in text
    assert "<style" not in text
    assert not re.search(r"\son\w+=", text)


@pytest.mark.parametrize("name", sorted(_page.assets()))
def test_no_module_makes_markup_of_text(name: str) -> None:
    if not name.endswith(".js") or name in _page.VENDOR:
        return
    text = _page.assets()[name].body.decode()
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "unsafeHTML",
        "new Function",
    ):
        assert forbidden not in text, f"{name} uses {forbidden}"
    assert not re.search(r"\sstyle=", text), f"{name} writes a style attribute, which the policy refuses"
    assert not re.search(r"https?://", text), f"{name} names another host"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/../_page.py",
        "/assets/vendor/lit-html.js",
        "/assets/README.md",
        "/assets//etc/passwd",
        "/index.html",
        "",
        "/x",
    ],
)
def test_only_names_of_assets_are_answered(path: str) -> None:
    assert _page.respond(path) is None


def test_what_has_not_changed_is_not_sent_again() -> None:
    found = _page.respond("/assets/app.js")
    assert found is not None
    assert found.body
    for tag in (found.headers["ETag"], f'"other", W/{found.headers["ETag"]}'):
        again = _page.respond("/assets/app.js", tag)
        assert again is not None
        assert (again.status, again.body) == (304, b"")
    changed = _page.respond("/assets/app.js", '"other"')
    assert changed is not None
    assert changed.status == 200


def test_the_libraries_are_as_their_makers_published_them() -> None:
    told = (STATIC / "vendor" / "README.md").read_text()
    for name in [*_page.VENDOR, "uPlot.min.css"]:
        digest = hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest()
        assert re.search(rf"\| {re.escape(name)} \|.*`{digest}`", told), name
    for licence in ("lit-html.LICENSE", "uPlot.LICENSE"):
        assert "Copyright" in (STATIC / "vendor" / licence).read_text()


def test_a_map_cannot_end_its_script() -> None:
    assert "<" not in _page.import_map({"app/x": "</script>"})
    assert json.loads(_page.import_map({"app/x": "</script>"})) == {"imports": {"app/x": "</script>"}}
