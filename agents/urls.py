"""Where agents are found: the addresses of the pages and of the API, as two plain lists."""

from __future__ import annotations

from django.urls import URLPattern, path

from agents import api, views
from mission_control.endpoints import resource

page_urls: list[URLPattern] = [
    path("agents", views.agents),
    path("agents/fleet", views.fleet),
    path("agents/<slug:slug>", views.agent),
    path("agents/<slug:slug>/part", views.agent_part),
    path("agents/<slug:slug>/keys", views.create_key),
    path("agents/<slug:slug>/keys/<slug:prefix>/revoke", views.revoke_key),
    path("settings/keys", views.all_keys),
    path("settings/keys/<slug:slug>/<slug:prefix>/revoke", views.revoke_one),
    path("connect", views.connect),
    path("connect/enrolments", views.enrolments),
    path("connect/enrolments/<slug:prefix>/revoke", views.revoke_enrolment),
    path("claim/<str:token>", views.claim),
]
join = resource(api.join_venture)
members = resource(api.list_members)
api_urls: list[URLPattern] = [
    path("agents", resource(api.list_agents, api.create_agent)),
    path("agents/register", resource(api.register)),
    path("agents/me", resource(api.read_me, api.change_me)),
    path("agents/availability", resource(api.say_availability)),
    path("agents/<slug:slug>", resource(api.read_agent, api.change_agent, api.delete_agent)),
    path("agents/<slug:slug>/keys", resource(api.list_keys, api.create_key)),
    path("agents/<slug:slug>/keys/<slug:prefix>", resource(api.revoke_key)),
    path("enrolments", resource(api.list_enrolments, api.create_enrolment)),
    path("enrolments/<slug:prefix>", resource(api.revoke_enrolment)),
    path("ventures/<slug:slug>/join", join),
    path("projects/<slug:slug>/join", join),
    path("ventures/<slug:slug>/members", members),
    path("projects/<slug:slug>/members", members),
]
