"""Around every view: a refusal raised by a page becomes its answer, and who needs a second step adds it first."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render

from mission_control.accounts import required_step
from mission_control.errors import Refused

ADD = "/account/second-step"


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


class SecondStepMiddleware:
    """Where a second step is required, a person without one comes to nothing but the pages that add it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/account/") or settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return self.get_response(request)
        if not request.user.is_authenticated or not required_step.missing({request.user.pk}):
            return self.get_response(request)
        if request.headers.get("HX-Request") or request.path.startswith("/api/"):
            answer = JsonResponse(required_step.refusal().body(), status=403)
            answer["HX-Redirect"] = ADD
            return answer
        return redirect(ADD)
