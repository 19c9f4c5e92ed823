"""Turns a refusal raised by a page view into its answer. The API has its own way (errors.answer_exception)."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from mission_control.errors import Refused


class RefusalMiddleware:
    """A fetch or htmx request gets the sentence as JSON, which the page shows as a toast; a plain visit gets a page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, Refused):
            return None
        if request.headers.get("HX-Request") or "application/json" in request.headers.get("Accept", ""):
            return JsonResponse(exception.body(), status=exception.status)
        return render(request, "refused.html", {"refusal": exception}, status=exception.status)
