"""How the product says no: `Refused`, the body of every error answer, and what errors of others stand for. Not: the rules
that refuse."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DataError, OperationalError
from django.http import Http404
from rest_framework import exceptions

logger = logging.getLogger(__name__)
WORDS = {  # status of the framework's own refusals → our code and sentence
    400: ("bad_request", "This request cannot be read."),
    401: ("not_authenticated", "Say who you are: send Authorization: Bearer mc_…, or log in."),
    403: ("not_allowed", "You may not do this."),
    404: ("not_found", "Not found."),
    405: ("method_not_allowed", "This address does not answer this method."),
    415: ("unsupported_media_type", "Send the body as application/json."),
}


class Refused(Exception):
    """The state of things forbids it. The API answers `status` with this body, a page shows the sentence as a toast.

    `sentence` says why and what would work; `code` is for programs; `facts` are added to the body.
    `keep=True`: what was written before the refusal is committed all the same (the cost that a zombie reports was
    spent, its result is kept as orphaned).
    """

    def __init__(self, sentence: str, *, code: str = "refused", status: int = 409, keep: bool = False, **facts: Any):
        super().__init__(sentence)
        self.sentence, self.code, self.status, self.keep, self.facts = sentence, code, status, keep, facts

    def body(self) -> dict[str, Any]:
        return {"error": self.sentence, "code": self.code, "details": [], **self.facts}

    def headers(self) -> dict[str, str]:
        if self.status == 401:
            return {"WWW-Authenticate": 'Bearer realm="Mission Control"'}
        if self.status in (429, 503):
            return {"Retry-After": str(self.facts.get("retry_after", 1))}
        return {}


class NotThere(Refused):
    """404: unknown, or not for this caller. Both look the same."""

    def __init__(self, sentence: str = "Not found."):
        super().__init__(sentence, code="not_found", status=404)


class NotAllowed(Refused):
    """403: the caller is known and may see it, but may not do this."""

    def __init__(self, sentence: str, *, code: str = "not_allowed", **facts: Any):
        super().__init__(sentence, code=code, status=403, **facts)


class Invalid(Refused):
    """400 with one entry per field: `Invalid({"title": "This field is required."})`."""

    def __init__(self, fields: dict[str, str], sentence: str = ""):
        details = [{"field": name, "message": message} for name, message in fields.items()]
        first = details[0] if details else {"field": "", "message": "Invalid input."}
        text = sentence or (f"{first['field']}: {first['message']}" if first["field"] else first["message"])
        super().__init__(text, code="invalid", status=400)
        self.details = details

    def body(self) -> dict[str, Any]:
        return {**super().body(), "details": self.details}


def as_refusal(error: Exception) -> Refused | None:
    """The refusal that an exception of the framework or the database stands for."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, RequestDataTooBig):
        return Refused("The body is too large.", code="too_large", status=413)
    if isinstance(error, OperationalError):
        logger.warning("answered 503: %s", error)
        return Refused("The database is busy. Try again in a moment.", code="busy", status=503, retry_after=1)
    if isinstance(error, DataError | OverflowError):
        return Invalid({"": "A value is larger than what can be stored."})
    if isinstance(error, Http404):
        return NotThere()
    if isinstance(error, PermissionDenied):
        return NotAllowed("You may not do this.")
    if isinstance(error, exceptions.APIException):
        code, sentence = WORDS.get(error.status_code, ("refused", str(error.detail)))
        return Refused(sentence, code=code, status=error.status_code)
    return None
