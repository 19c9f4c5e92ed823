"""How the product says no: `Refused`, and the one shape of every error answer. Not: the rules that refuse."""

from __future__ import annotations

from typing import Any


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
