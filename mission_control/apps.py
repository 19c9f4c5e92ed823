"""The floor's app: people, the log, the live path."""

from django.apps import AppConfig


class MissionControlConfig(AppConfig):
    name = "mission_control"

    def ready(self) -> None:
        from mission_control import checks, chores, live, loops  # noqa: F401  # the checks and the one receiver register themselves

        chores.register_own()
        loops.register()
