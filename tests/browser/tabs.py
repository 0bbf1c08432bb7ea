"""A tab of the browser in which nothing may go wrong unnoticed: no complaint of the console, no request to anyone else."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any, Literal
from urllib.parse import urlencode

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, Request, expect

LONGEST_MS = 10_000  # that anything may take on a busy machine
expect.set_options(timeout=LONGEST_MS)
QUIET = """() => {
  const main = document.getElementById('main');
  return main?.childElementCount > 0 && !main.querySelector('[aria-busy]');
}"""
GO = """hash => new Promise((go) => {
  addEventListener('hashchange', () => requestAnimationFrame(go), { once: true });
  setTimeout(go, 5000);
  location.hash = hash;
})"""
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Tab:
    """A page in a profile of its own, at the address of a server (or a file)."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.address = address
        words = {"timezone_id": "UTC", "locale": "en-GB", "viewport": {"width": 1280, "height": 900}}
        self.profile = browser.new_context(**(words | options))
        self.profile.set_default_timeout(LONGEST_MS)
        self.page: Page = self.profile.new_page()
        self.troubles: list[str] = []
        self.awaited: list[str] = []
        self.met: set[str] = set()
        self.requests: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self._trouble(f"error: {error}"))
        self.page.on("dialog", self._opened)
        self.page.on("request", self._asked)

    def await_trouble(self, pattern: str) -> None:
        """Let pass what a test brings about on purpose; it must happen."""
        self.awaited.append(pattern)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._trouble(f"{message.type}: {message.text}")

    def _opened(self, dialog: Dialog) -> None:
        self._trouble(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _trouble(self, text: str) -> None:
        for pattern in self.awaited:
            if re.search(pattern, text):
                self.met.add(pattern)
                return
        self.troubles.append(text)

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        own = self.address if self.address.startswith("file:") else self.address + "/"
        if not request.url.startswith((own, "data:", "blob:")):
            self._trouble(f"request to {request.url}")

    def check(self) -> None:
        self.page.evaluate("0")  # whatever was said before has arrived after this
        assert not self.troubles, "\n".join(self.troubles)
        assert set(self.awaited) == self.met, f"awaited {self.awaited}, met {self.met}"

    def close(self) -> None:
        self.profile.close()

    # -- going about ------------------------------------------------------------------------------

    def go(self, fragment: str = "#/") -> Page:
        """Go to a page and wait until it is drawn."""
        if self.page.url in ("about:blank", f"{self.address}/{fragment}", self.address + fragment):
            slash = "" if self.address.startswith("file:") else "/"
            if self.page.url == "about:blank":
                self.page.goto(f"{self.address}{slash}{fragment}")
            else:
                self.page.reload()
        else:
            self.page.evaluate(GO, fragment)
        return self.settle()

    def settle(self) -> Page:
        self.page.wait_for_function(QUIET)
        return self.page

    @property
    def main(self) -> Locator:
        return self.page.locator("#main")

    @property
    def dialog(self) -> Locator:
        return self.page.locator("dialog[open]")

    def text(self, where: str = "#main") -> str:
        """Return what a person reads there, its white space made one."""
        return re.sub(r"\s+", " ", self.page.locator(where).inner_text())

    def live(self) -> None:
        expect(self.page.locator("#header .live.on")).to_be_visible()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    # -- what can be measured -----------------------------------------------------------------------

    def faults(self, levels: tuple[str, ...], rules: list[str] | None = None) -> list[str]:
        """Return what axe finds of these levels (by these rules alone), each with where."""
        if not self.page.evaluate("typeof axe === 'object'"):
            self.page.evaluate(AXE)
        run = "only => axe.run(document, { runOnly: only, resultTypes: ['violations'] })"
        found = self.page.evaluate(run, {"type": "rule", "values": rules} if rules else AXE_TAGS)
        return [
            f"{each['impact']} {each['id']} at {node['target']}: {node['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in levels
            for node in each["nodes"]
        ]

    def sideways(self) -> list[str]:
        """Return what sticks out to the right of the window, if the page can be scrolled there."""
        return list(self.page.evaluate(STICKING_OUT))


AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
STICKING_OUT = """() => {
  if (document.documentElement.scrollWidth <= innerWidth) return [];
  const out = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5);
  return [`${document.documentElement.scrollWidth} px in ${innerWidth}`,
    ...out.slice(0, 5).map((e) => `${e.tagName}.${e.className?.baseVal ?? e.className}: ${e.textContent.trim().slice(0, 40)}`)];
}"""

Scheme = Literal["light", "dark"]


def parameter(key: str, **context: Any) -> str:
    at = [("at", f"{name}={value}") for name, value in context.items()]
    return f"#/parameter/{key}" + (f"?{urlencode(at)}" if at else "")
