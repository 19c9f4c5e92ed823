"""The button that hands a task to the agent that a person chose in the drawer. Not: rules (dispatch.py)."""

from __future__ import annotations

from django.http import HttpResponse

from agents.acting import named
from mission_control.views import PageRequest, page
from tasks import forms
from tasks.dispatching import dispatch
from tasks.views import drawer_answer


@page("POST", needs="operate")
def hand_to(request: PageRequest, code: str) -> HttpResponse:
    agent = named(forms.printable(request.POST.get("agent", "")), "agent")
    dispatch.process(request.actor, code, agent)
    return drawer_answer(request, code)
