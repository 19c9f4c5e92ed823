"""/healthz, /readyz and /metrics: is the process alive, may it be given requests, how is it doing."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST

from mission_control import callers, chores, log, metrics
from mission_control.actors import person
from mission_control.errors import Refused
from mission_control.models import Watermark

_migrated = False


def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Touches nothing else."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers, is migrated, and the chores of this process run; else 503 with what is not."""
    checks: dict[str, str] = {}
    try:
        checks["database"] = "ok" if log.now() else ""
        checks["migrations"] = "ok" if _is_migrated() else "not applied"
        swept_at = Watermark.objects.filter(pk="swept").values_list("at", flat=True).first()
        swept = {"swept_seconds_ago": round((log.now() - swept_at).total_seconds(), 1)} if swept_at else {}
    except DatabaseError:
        checks.setdefault("database", "unreachable")
        swept = {}
    late = chores.runner.late() if chores.runner else []
    checks["chores"] = f"late: {', '.join(late)}" if late else "ok" if chores.runner else "elsewhere"
    ready = all(word in ("ok", "elsewhere") for word in checks.values())
    return JsonResponse({"status": "ok" if ready else "not ready", **checks, **swept}, status=200 if ready else 503)


def prometheus(request: HttpRequest) -> HttpResponse:
    """For an admin, by session or key, and for who asks plainly from this machine."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    remote = request.META.get("REMOTE_ADDR", "")
    try:
        if not callers.is_open_to(headers, remote) or "authorization" in headers:
            query = request.META.get("QUERY_STRING", "")
            actor = callers.identify(headers, callers.remote_of(remote, headers), query)
            if actor is None and request.user.is_authenticated:
                actor = person(request.user)
            callers.require(actor, "admin")
    except Refused as refused:
        return JsonResponse(refused.body(), status=refused.status, headers=refused.headers())
    return HttpResponse(metrics.text(), content_type=CONTENT_TYPE_LATEST)


def _is_migrated() -> bool:
    """Asked until it is true once: a running process does not lose its migrations."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated
