"""Pages and endpoints of the floor."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def shell_context(request: HttpRequest) -> dict[str, Any]:
    return {}
