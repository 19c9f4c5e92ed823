"""Reads the admin's pages as a browser would: what a form shows, sent back with changes. Not a test."""

from html.parser import HTMLParser
from typing import Any

from django.test import Client


class _Form(HTMLParser):
    """The values that the main form of a page would send."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self._select: tuple[str, bool] | None = None
        self._text: str | None = None
        self._first: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "input" and name and given.get("type") not in ("submit", "button", "file"):
            if given.get("type") in ("checkbox", "radio") and "checked" not in given:
                return
            self.values.setdefault(name, []).append(
                given.get("value", "on" if given.get("type") in ("checkbox", "radio") else "")
            )
        elif tag == "select" and name:
            self._select, self._first = (name, "multiple" in given), None
        elif tag == "option" and self._select:
            if self._first is None:
                self._first = given.get("value", "")
            if "selected" in given:
                self.values.setdefault(self._select[0], []).append(given.get("value", ""))
        elif tag == "textarea" and name:
            self._text = name
            self.values.setdefault(name, [""])

    def handle_data(self, data: str) -> None:
        if self._text:
            self.values[self._text][0] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._text:
            self.values[self._text][0] = self.values[self._text][0].removeprefix("\n")
            self._text = None
        elif tag == "select" and self._select:
            name, multiple = self._select
            if not multiple and name not in self.values and self._first is not None:
                self.values[name] = [self._first]
            self._select = None


def form_of(client: Client, address: str) -> dict[str, Any]:
    """What the page would send if nobody touched it."""
    page = client.get(address)
    assert page.status_code == 200, page.status_code
    form = _Form()
    form.feed(page.content.decode())
    return {name: values if len(values) > 1 else values[0] for name, values in form.values.items()}


def send(client: Client, address: str, **changes: Any) -> Any:
    """Load the page, change these fields, save."""
    return client.post(address, {**form_of(client, address), "_save": "Save", **changes})


def act(client: Client, address: str, action: str, *rows: Any, **more: Any) -> list[str]:
    """Run an action of a list on these rows; the messages that come of it."""
    values = {"action": action, "_selected_action": [row.pk for row in rows], "index": "0", **more}
    page = client.post(address, values, follow=True)
    return [str(message) for message in page.context["messages"]]


def errors(page: Any) -> str:
    """All errors that a form came back with, as one text; "" when it was saved."""
    if page.status_code == 302:
        return ""
    form = page.context["adminform"].form
    return " ".join(f"{name}: {' '.join(told)}" for name, told in form.errors.items())
