"""What axe finds on a page that has come to rest. Not: which pages are looked at (walked.py, and each test)."""

from __future__ import annotations

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# A colour in change is none that anybody reads. What goes round for ever (the pulse of an avatar) never comes to rest.
AT_REST = """
async () => {
  const moves = (one) => one.playState === "running" && one.effect.getComputedTiming().endTime !== Infinity;
  while (document.getAnimations().some(moves)) await new Promise(requestAnimationFrame);
}
"""
FOUND = """
async (options) => {
  const { violations } = await axe.run(document, { ...options, resultTypes: ["violations"] });
  return violations.map(({ id, nodes: [{ html, failureSummary }] }) => `${id}: ${html.slice(0, 140)} ${failureSummary.slice(0, 200)}`);
}
"""


def violations(page: Page, rules: tuple[str, ...] = RULES, **options: object) -> list[str]:
    """What axe finds by these sets of rules, or rules, once nothing on the page moves; with the first place of each."""
    page.evaluate(AT_REST)
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found: list[str] = page.evaluate(FOUND, {"runOnly": list(rules), **options})
    return found
