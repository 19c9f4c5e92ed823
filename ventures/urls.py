"""Where ventures are found in the API; their pages are the boards (tasks). `projects` is their other name."""

from __future__ import annotations

from django.urls import URLPattern, path

from mission_control.endpoints import resource
from ventures import api

page_urls: list[URLPattern] = []
all_ventures = resource(api.list_ventures, api.create_venture, api.change_venture_by_id, api.delete_venture_by_id)
one_venture = resource(api.read_venture, api.change_venture, api.delete_venture)
ledger = resource(api.list_entries, api.add_entry)
api_urls: list[URLPattern] = [
    path(pattern.replace("ventures", name, 1), view)
    for name in ("ventures", "projects")
    for pattern, view in (
        ("ventures", all_ventures),
        ("ventures/<slug:slug>", one_venture),
        ("ventures/<slug:slug>/ledger", ledger),
    )
]
