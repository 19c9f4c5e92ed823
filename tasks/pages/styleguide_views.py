"""The style guide: every token and component in every state on one page, for who changes them. Only with DEBUG."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render

from agents.faces import Face
from mission_control.colours import THEMES, contrast, tokens
from mission_control.errors import NotThere
from mission_control.views import PageRequest, page
from tasks.board import Card
from tasks.vocabulary import PRIORITIES, STATUSES

INKS = ("ink", "ink-2", "ink-3", "accent-text", "blue", "green", "amber", "red", "violet", "ice")
SURFACES = ("surface", "ground", "sunken", "raised")
ENOUGH = 4.5  # the contrast of WCAG 2.2 AA for text
SIZES = (("text-l", "Titles of a task and a page"), ("text-m", "Headings"), ("text", "Everything that is read"),
         ("text-s", "Fields, lists, buttons that are small"), ("text-xs", "Counts and tags"))  # fmt: skip
STATES = ("busy", "available", "idle", "error", "pending_claim", "offline")


@page()
def styleguide(request: PageRequest) -> HttpResponse:
    if not settings.DEBUG:
        raise NotThere("There is no such page.")
    context = {
        "colours": sorted({name for colours in tokens().values() for name in colours}), "contrasts": contrasts(),
        "sizes": SIZES, "statuses": STATUSES.items(), "priorities": PRIORITIES.values(), "cards": stand_ins(),
        "faces": [Face(state, state.replace("_", " ").capitalize(), "A", hue, state) for hue, state in enumerate(STATES)],
        "surfaces": SURFACES, "themes": THEMES,
    }  # fmt: skip
    return render(request, "tasks/styleguide.html", context)


def contrasts() -> list[tuple[str, str, list[tuple[str, float, bool]]]]:
    """Theme, ink, and for each surface its name, the contrast and whether it is enough."""
    found = []
    for theme, colours in tokens().items():
        for ink in INKS:
            reached = [(surface, contrast(colours[ink], colours[surface])) for surface in SURFACES]
            found.append((theme, ink, [(surface, round(value, 1), value >= ENOUGH) for surface, value in reached]))
    return found


def stand_ins() -> list[tuple[str, Card]]:
    """A card in each state that it can be in, with what it is in."""

    def card(number: int, title: str, status: str, priority: str = "medium", **more: Any) -> Card:
        known: dict[str, Any] = {"column": status, "order": "", "venture_name": "Shoe store", "venture_icon": "👟"}
        return Card(code=f"style{number:03d}", title=title, status=status, priority=priority, **known, **more)

    worn: dict[str, Any] = {"agent": "ada", "face": "Ada", "face_letter": "A", "face_hue": 3}
    return [
        ("Ready, little known", card(1, "Count the boxes", "ready", "low")),
        ("Urgent, with tags, a deadline and talk", card(2, "Write the winter newsletter", "ready", "urgent", tags=["copy", "mail", "winter"], tags_hidden=2, deadline="2020-01-01T00:00:00Z", deadline_date="1 Jan", comments=4, deliverables=2)),
        ("Being worked on", card(3, "Rewrite the checkout tests so that they run without a network", "in_progress", "high", **worn, face_state="busy", percent=62, step="Reading sheet 5 of 9", tokens="6.1k", cost="$0.03", lease_expires_at="2099-01-01T00:00:00Z", lease_seconds=300)),
        ("Idle for too long", card(4, "Import the supplier list", "in_progress", **worn, face_state="idle", percent=10, heartbeat_at="2020-01-01T00:00:00Z", idle_after=60)),
        ("Waits for an answer", card(5, "Choose the colour of the boxes", "blocked", reason="Which blue: the logo's or the lid's?", reason_tone="ask")),
        ("Waits for other tasks", card(6, "Tell wholesale customers", "blocked", blockers_open=2)),
        ("Failed", card(7, "Fetch the exchange rates", "failed", "high", reason="Failed 3 times", reason_tone="bad")),
        ("Handed in", card(8, "Compare three payment providers", "review", **worn, face_state="available", deliverables=1, cost="$0.41", tokens="88k")),
        ("A very long word", card(9, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "done", tags=["averyveryverylongtagthatdoesnotfit"])),
    ]  # fmt: skip
