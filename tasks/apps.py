"""The app of tasks: claiming, leases, verbs and the board. Tells the floor which chores it has."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"

    def ready(self) -> None:
        from django.db.models import signals

        from tasks import hints, lasting, search, stream_shapes, sweeping, telling
        from tasks.dispatching import dispatch
        from tasks.protocols import telemetry

        dispatch.register()
        hints.register()
        lasting.register()
        stream_shapes.register()
        sweeping.register()
        telemetry.register()
        telling.register()
        signals.post_migrate.connect(search.keep_index, sender=self)
