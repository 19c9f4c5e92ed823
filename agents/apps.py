"""The app of agents and their keys."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
