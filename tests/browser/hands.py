"""A person at the page: with a mouse, or with nothing but the keys."""

from __future__ import annotations

from playwright.sync_api import Locator, expect
from tabs import Tab

MOST_STOPS = 400  # of the Tab key, until something is out of reach
SEEN = """element => {
  if (element !== document.activeElement) return false;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return element.matches(':focus-visible') && outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1 ? 'seen' : 'unseen';
}"""


class Person:
    """Does what a person does; with ``keys``, never touches the mouse."""

    def __init__(self, tab: Tab, keys: bool = False) -> None:
        self.tab = tab
        self.page = tab.page
        self.keys = keys

    def reach(self, wanted: Locator) -> None:
        """Press Tab until it has the focus, which must be seen."""
        element = wanted.element_handle()
        for _ in range(MOST_STOPS):
            found = element.evaluate(SEEN)
            if found:
                assert found == "seen", f"the focus on {wanted} cannot be seen"
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the Tab key does not lead to {wanted}")

    def press(self, wanted: Locator, key: str = "Enter") -> None:
        expect(wanted).to_be_enabled()
        if self.keys:
            self.reach(wanted)
            self.page.keyboard.press(key)
        else:
            wanted.click()

    def tick(self, wanted: Locator) -> None:
        self.press(wanted, "Space")

    def write(self, wanted: Locator, text: str) -> None:
        if self.keys:
            self.reach(wanted)
            self.page.keyboard.press("Control+A")
            self.page.keyboard.type(text)
        else:
            wanted.fill(text)

    # -- the dialog of an action ----------------------------------------------------------------------

    def button(self, name: str) -> Locator:
        return self.tab.page.get_by_role("button", name=name, exact=True)

    def field(self, name: str, which: int = 0) -> Locator:
        return self.tab.dialog.get_by_label(name).nth(which)

    def open(self, name: str) -> None:
        """Press the button that opens a dialog; the focus is in it."""
        self.press(self.tab.main.get_by_role("button", name=name, exact=True).first)
        expect(self.tab.dialog).to_be_visible()
        assert self.page.evaluate("document.activeElement.closest('dialog') !== null")

    def sign(self, reason: str, token: str = "", author: str = "") -> None:
        if author:
            self.write(self.field("Author"), author)
        self.write(self.field("Reason"), reason)
        if token:
            self.write(self.field("Token"), token)

    def preview(self) -> Locator:
        self.press(self.button("Show what it would do"))
        shown = self.tab.dialog.get_by_role("region", name="What it would do").first
        expect(shown).to_be_visible()
        return shown

    def confirm(self, name: str, done: str) -> None:
        self.press(self.tab.dialog.get_by_role("button", name=name, exact=True))
        expect(self.tab.dialog.get_by_role("status")).to_contain_text(done)
        self.press(self.button("Close"))
        expect(self.tab.dialog).to_have_count(0)
