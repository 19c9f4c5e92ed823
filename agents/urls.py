"""Where agents are found: the addresses of the pages and of the API, as two plain lists."""

from __future__ import annotations

from django.urls import URLPattern, path

from agents import views

page_urls: list[URLPattern] = [
    path("agents", views.agents),
    path("agents/fleet", views.fleet),
    path("agents/<slug:slug>", views.agent),
    path("agents/<slug:slug>/part", views.agent_part),
    path("agents/<slug:slug>/keys", views.create_key),
    path("agents/<slug:slug>/keys/<slug:prefix>/revoke", views.revoke_key),
    path("connect", views.connect),
    path("claim/<str:token>", views.claim),
]
api_urls: list[URLPattern] = []
