"""A backup that an admin takes by the browser. Not: what is in it, and how it is restored (backups.py)."""

from __future__ import annotations

from datetime import UTC, datetime

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django.core.management.base import CommandError
from django.http import FileResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from mission_control.errors import Refused
from mission_control.keeping import backups
from mission_control.views import PageRequest, page


@page("POST", needs="admin")
def download(request: PageRequest) -> HttpResponseBase:
    """The backup as a file. It holds the keys of this instance: who has not just said who they are is asked again."""
    if not did_recently_reauthenticate(request):
        return redirect("/account/reauthenticate?next=/settings/data")
    try:
        with backups.made() as (file, manifest):
            backups.note_download(request.actor, manifest)
    except CommandError as error:
        raise Refused(str(error), code="no_backup") from None
    name = f"mission-control-{datetime.now(UTC):%Y-%m-%d-%H%M}.tar.gz"
    answer = FileResponse(file, as_attachment=True, filename=name, content_type="application/gzip")
    answer["Cache-Control"] = "no-store"
    return answer
