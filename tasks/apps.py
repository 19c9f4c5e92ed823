"""The app of tasks: claiming, leases, verbs and the board. Tells the floor which chores it has."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
