"""Pages and parts of tasks: the board, the drawer, their forms. One render path for page, part and live update."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from django.core.cache import cache
from django.http import FileResponse, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.template.loader import get_template
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe

from agents.acting import act_for
from mission_control import settings_tabs
from mission_control.accounts import first_run
from mission_control.actors import Actor, person
from mission_control.errors import Invalid, NotThere, Refused
from mission_control.figures import dollars
from mission_control.outbound import notifications
from mission_control.views import PageRequest, is_part, page
from tasks import approvals, forms, transitions
from tasks.board import DROPS, MOST, PAGE, Board, Column, Names, Place, cards, iso, menus, read_order
from tasks.dispatching import dispatch
from tasks.models import Task
from tasks.pages.bulk import Outcome, apply
from tasks.pages.details import LINES, TABS, Details, digest
from tasks.pages.finding import find
from tasks.pages.lanes import GROUPS, lanes, listing
from tasks.pages.past_views import past_board
from tasks.pages.preview import kind_shown
from tasks.pages.shell import Shell, may
from tasks.teamwork import collaboration, feedback, plan
from tasks.vocabulary import COLUMNS, CONTEXT_KINDS, DONE, INBOX, OPEN, PRIORITIES, READY, STATUSES, STEP_STATES
from ventures import catalogue

MODULES = [
    "js/" + name
    for name in (
        "badge.js", "board.js", "clock.js", "dialogs.js", "drafts.js", "drawer.js", "keys.js", "later.js", "live.js", "menus.js", "move.js",
        "news.js", "theme.js", "toasts.js", "watch.js", "wire.js",
    )
]  # fmt: skip


def shell_context(request: HttpRequest) -> dict[str, Any]:
    """What every template may use. Nothing is read before a template asks for it."""
    user = getattr(request, "user", None)
    actor = person(user) if user is not None and user.is_authenticated else Actor("user", "")
    shell = Shell()
    return {
        "shell": shell,
        "unread": SimpleLazyObject(lambda: notifications.unread(actor)),
        "may": may(actor),
        "settings_tabs": settings_tabs.of(actor),
        "here": request.GET.get("here", request.path),
        "now_iso": SimpleLazyObject(lambda: iso(shell.moment)),
        "shell_modules": MODULES,
        "form": SimpleLazyObject(lambda: NewTaskForm(Names())),
        "first_run": SimpleLazyObject(first_run.is_needed),
    }


@page()
def rail(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/_rail.html")


# ── the board ───────────────────────────────────────────────────────────────────────────────────────────────────────

CODES_MOST = 200


@page()
def board(request: PageRequest, slug: str = "") -> HttpResponse:
    """All columns with their first cards. `loaded=ready:120,…` asks for as many as the page already had.

    With `at` it is the board as it was at that moment.
    """
    if "at" in request.GET:
        return past_board(request, slug, _path(slug))
    shown = Board(forms.filters_from(request.GET, slug))
    if slug and shown.venture is None:
        raise NotThere("There is no such venture.")
    context = {"board": shown, "menus": menus(shown), "path": _path(slug), **_arranged(request, shown)}
    if is_part(request):
        return render(request, "tasks/_board.html", context)
    return render(request, "tasks/board.html", {**context, "form": NewTaskForm(shown.names, slug)})


def _arranged(request: HttpRequest, shown: Board) -> dict[str, Any]:
    """The same tasks as columns, as lanes (`group`) or as a table (`view=list`, `sort`, `most`)."""
    group, sort = request.GET.get("group", ""), request.GET.get("sort", "")
    if request.GET.get("view") == "list":
        table = listing(shown, sort, _number(request.GET.get("most"), 0))
        return {"view": "list", "listing": table, "sort": table.sort}
    if group in GROUPS:
        rows, hidden = lanes(shown, group)
        for lane in rows:
            for column in lane.columns:
                _draw(column, shown.names)
        return {"view": "lanes", "group": group, "lanes": rows, "lanes_hidden": hidden, "heads": shown.heads()}
    loaded = _loaded(request.GET.get("loaded", ""))
    columns = [shown.column(key, limit=loaded.get(key, PAGE)) for key in shown.keys]
    for column in columns:
        _draw(column, shown.names)
    return {"columns": columns}


@page()
def column_cards(request: PageRequest, key: str) -> HttpResponse:
    """One more page of a column, after the card with the order `after`."""
    if key not in COLUMNS:
        raise NotThere("There is no such column.")
    shown = Board(forms.filters_from(request.GET, request.GET.get("board", "")))
    after = request.GET.get("after", "")
    try:
        if after:
            read_order(after)
    except ValueError:
        raise Invalid({"after": "This is not a place on the board."}) from None
    column = shown.column(key, after=after, counted=False)
    _draw(column, shown.names)
    return render(request, "tasks/_column_cards.html", {"column": column})


@page()
def column_costs(request: PageRequest, key: str) -> HttpResponse:
    """What the column costs, under the filters: asked for when somebody looks at its head."""
    if key not in COLUMNS:
        raise NotThere("There is no such column.")
    estimated, spent = Board(forms.filters_from(request.GET, request.GET.get("board", ""))).costs(key)
    return render(request, "tasks/_costs.html", {"estimated": dollars(estimated), "spent": dollars(spent)})


COSTS_FRESH = 3  # seconds: the sums read every task, and ten boards of one fleet ask for the same


@page()
def board_costs(request: PageRequest) -> HttpResponse:
    """What each column is estimated to cost, under the filters: asked for when the page has come to rest."""
    filters = forms.filters_from(request.GET, request.GET.get("board", ""))
    key = f"costs:{hashlib.sha256(f'{filters.board}?{filters.query()}'.encode()).hexdigest()}"
    sums = cache.get_or_set(key, lambda: Board(filters).costs_of_all(), COSTS_FRESH) or {}
    told = [(column, dollars(estimated), dollars(spent)) for column, (estimated, spent) in sums.items() if estimated]
    return render(request, "tasks/_column_costs.html", {"costs": told})


@page()
def blockers(request: PageRequest, code: str) -> HttpResponse:
    """What the task waits for and is not done: asked for when somebody looks at the mark on its card."""
    waits = transitions.visible(request.actor, code).dependencies.exclude(depends_on__status=DONE)
    open_ones = waits.order_by("pk").values_list("depends_on__code", "depends_on__title", "depends_on__status")[:12]
    return render(request, "tasks/_blockers.html", {"blockers": list(open_ones)})


@page()
def board_cards(request: PageRequest) -> HttpResponse:
    """How the cards with these `codes` look now on this board, which it does not show, and the heads of the columns."""
    shown = Board(forms.filters_from(request.GET, request.GET.get("board", "")))
    codes = [code for code in forms.printable(request.GET.get("codes", "")).split(",")[:CODES_MOST] if code]
    return cards_answer(request, shown, codes)


def cards_answer(
    request: HttpRequest, shown: Board, codes: Sequence[str], outcomes: Sequence[Outcome] = ()
) -> HttpResponse:
    """The heads of the columns, these cards, which of them are not shown, and what became of each in an act on many."""
    places = shown.places_of(codes)
    there = {place.code for place in places}
    context = {
        "heads": shown.heads(),
        "markup": _markup(places, shown.names),
        "gone": [code for code in codes if code not in there],
        "outcomes": outcomes,
    }
    return render(request, "tasks/_cards.html", context)


@page("PUT", "POST", needs="orchestrate")
def move(request: PageRequest, code: str) -> HttpResponse:
    """A card was dropped: the verb for that move. Answers like board_cards, for this card."""
    fields = QueryDict(request.body) if request.method == "PUT" else request.POST
    dispatch.move(
        request.actor, code, forms.target_status(fields), before=fields.get("before", ""),
        after=fields.get("after", ""), reason=forms.reason(fields),
    )  # fmt: skip
    shown = Board(forms.filters_from(request.GET, request.GET.get("board", "")))
    return cards_answer(request, shown, [code])


@page("GET", "POST", needs="orchestrate")
def bulk(request: PageRequest) -> HttpResponse:
    """What can be done to many cards at once; a POST does it to `codes` and answers like board_cards, each with its outcome."""
    if request.method == "GET":
        names = Names()
        columns = [(COLUMNS[key][0], DROPS.get(key, key)) for key in COLUMNS if key != "cancelled"]
        return render(request, "tasks/_bulk.html", {"form": NewTaskForm(names), "columns": columns})
    value = forms.printable(request.POST.get("value", ""))
    codes = [code for code in forms.printable(request.POST.get("codes", "")).split(",") if code]
    outcomes = apply(request.actor, codes, request.POST.get("act", ""), value)
    shown = Board(forms.filters_from(request.GET, request.GET.get("board", "")))
    return cards_answer(request, shown, [outcome.code for outcome in outcomes], outcomes)


@page("POST", needs="operate")
def set_limit(request: PageRequest, slug: str) -> HttpResponse:
    """How many cards a column of the venture's board should hold; without a number, any."""
    most = request.POST.get("most", "").strip()
    if most and not (most.isdecimal() and len(most) < 9):
        raise Invalid({"most": "Give a whole number, or none."})
    catalogue.set_limit(request.actor, slug, request.POST.get("column", ""), int(most) if most else None)
    return HttpResponse(status=204)


def _path(slug: str) -> str:
    return f"/ventures/{slug}/board" if slug else "/"


def _loaded(text: str) -> dict[str, int]:
    """`ready:120,done:50` as numbers between a page and the most."""
    found = {}
    for part in text.split(","):
        key, _, number = part.partition(":")
        if key in COLUMNS and number.isdecimal() and len(number) < 6:
            found[key] = max(PAGE, min(MOST, int(number)))
    return found


# ── the markup of cards, kept by place ──────────────────────────────────────────────────────────────────────────────

DRAWN_MOST = 20_000
DRAWING_SECONDS = 2  # then one draws by oneself: nobody waits for a request that hangs
_drawn: dict[int, tuple[tuple[Any, ...], str]] = {}  # task pk → (key of its place, markup); the same for every viewer
_drawing = threading.Lock()


def _markup(places: Sequence[Place], names: Names) -> SafeString:
    """The cards of these places. Only those whose key changed since they were last drawn are drawn.

    After an event all open boards ask for the same card at the same moment: one request draws it, the others wait.
    """
    known = _kept(places)
    if len(known) < len(places):
        mine = _drawing.acquire(timeout=DRAWING_SECONDS)
        try:
            known |= _kept([place for place in places if place.pk not in known])
            known |= _fresh([place for place in places if place.pk not in known], names)
        finally:
            if mine:
                _drawing.release()
    return mark_safe("\n".join(known[place.pk] for place in places if place.pk in known))


def _kept(places: Sequence[Place]) -> dict[int, str]:
    found = ((place, _drawn.get(place.pk)) for place in places)
    return {place.pk: kept[1] for place, kept in found if kept and kept[0] == place.key}


def _fresh(places: Sequence[Place], names: Names) -> dict[int, str]:
    if not places:
        return {}
    template, by_code, markup = get_template("tasks/_card.html"), {place.code: place for place in places}, {}
    if len(_drawn) > DRAWN_MOST:
        _drawn.clear()
    for card in cards(places, names):
        place = by_code[card.code]
        markup[place.pk] = template.render({"card": card}).strip()
        _drawn[place.pk] = (place.key, markup[place.pk])
    return markup


def _draw(column: Column, names: Names) -> None:
    column.markup = _markup(column.places, names)


# ── a new task ──────────────────────────────────────────────────────────────────────────────────────────────────────


class NewTaskForm:
    """What can be chosen in the form of a new task."""

    statuses = [(status, STATUSES[status]) for status in ("inbox", "ready", "assigned")]
    priorities = [(word, word.capitalize()) for _, word in sorted(PRIORITIES.items(), reverse=True)]

    def __init__(self, names: Names, venture: str = "") -> None:
        self.names, self.venture = names, venture or "default"

    @property
    def ventures(self) -> list[Any]:
        return [venture for venture in self.names.ventures.values() if venture.status != "archived"]

    @property
    def status(self) -> str:
        """Where the venture takes in what says nothing else."""
        return next((v.intake for v in self.names.ventures.values() if v.slug == self.venture), "ready")

    @property
    def agents(self) -> list[Any]:
        return sorted(self.names.agents.values(), key=lambda agent: agent.name.lower())

    @property
    def tags(self) -> list[str]:
        return self.names.tags


@page("POST", needs="orchestrate")
def new_task(request: PageRequest) -> HttpResponse:
    """Creates it and answers 201 with its code in `X-Task-Code`."""
    fields = {name: request.POST.get(name, "") for name in request.POST}
    task = transitions.create(request.actor, **forms.new_task(fields))
    answer = HttpResponse(status=201)
    answer["X-Task-Code"] = task.code
    answer["Location"] = f"/tasks/{task.code}"
    return answer


@page()
def new_task_line(request: PageRequest) -> HttpResponse:
    """What `title` says of a new task beside its title: asked for while it is written."""
    fields = {"title": request.GET.get("title", "")[: forms.TITLE], "zone": request.GET.get("zone", "")}
    line, names = forms.smart_line(fields), Names()
    context = {
        "line": line,
        "venture": next((one for one in names.ventures.values() if one.slug == line.venture), None),
        "agent": next((one for one in names.agents.values() if one.slug == line.assignee), None),
        "hours": "" if line.estimated_hours is None else f"{line.estimated_hours.normalize():f}",
        "cost": dollars(line.estimated_cost_micro_usd),
        "deadline": iso(line.deadline),
    }
    return render(request, "tasks/_smart_line.html", context)


# ── the drawer and the page of a task ───────────────────────────────────────────────────────────────────────────────


@page()
def task_page(request: PageRequest, code: str) -> HttpResponse:
    context = _details(request, code)
    names = Names()
    return render(request, "tasks/drawer.html", {**context, "form": NewTaskForm(names, context["task"].venture.slug)})


@page()
def task_drawer(request: PageRequest, code: str) -> HttpResponse:
    return render(request, "tasks/_drawer.html", _details(request, code))


def _details(request: PageRequest, code: str, tab: str = "") -> dict[str, Any]:
    details = Details(request.actor, code)
    notifications.seen(request.actor, code)
    tab = tab or request.GET.get("tab", "overview")
    context: dict[str, Any] = {
        "details": details, "task": details.task, "tab": tab if tab in TABS else "overview",
        "priorities": NewTaskForm.priorities, "context_kinds": CONTEXT_KINDS,
    }  # fmt: skip
    if context["tab"] == "activity":
        most = max(50, min(1000, _number(request.GET.get("most"), 50)))
        only = request.GET.get("only", request.POST.get("only", ""))
        context["only"] = only if only in LINES else ""
        context["lines"] = [(key, label) for key, (label, _) in LINES.items()]
        context["activities"], older = details.activities(most=most, only=context["only"])
        context["older"] = most + 200 if older else 0
        context["most"] = most
    elif context["tab"] == "audit":
        most = max(50, min(1000, _number(request.GET.get("most"), 50)))
        context["audit"], older = details.audit(most)
        context["older"], context["most"] = most + 200 if older else 0, most
    elif context["tab"] == "deliverables":
        context["shown"] = _number(request.GET.get("show"), 0)
        context["deliverables"] = details.deliverables(context["shown"])
    return context


def drawer_answer(request: PageRequest, code: str) -> HttpResponse:
    """The drawer after a change, on the tab it was on."""
    return render(request, "tasks/_drawer.html", _details(request, code, request.POST.get("tab", "")))


STALE = {
    "description": "Somebody changed the description meanwhile. Your text is still here; close the editor to see theirs.",
    "title": "Somebody changed the title meanwhile, to “{title}”. Save again to put yours in its place.",
}


@page("POST", needs="orchestrate")
def edit(request: PageRequest, code: str) -> HttpResponse:
    fields = {name: request.POST.get(name, "") for name in request.POST}
    task = Details(request.actor, code).task
    given = forms.changes(task, fields)
    version = None
    for name, seen in (("description", "seen"), ("title", "seen_title")):
        if name in given and seen in fields:
            if digest(getattr(task, name)) not in (fields[seen], digest(given[name])):
                raise Refused(STALE[name].format(title=task.title), code="stale", status=412)
            version = task.version
    transitions.edit(request.actor, code, lambda current: forms.changes(current, fields), version=version)
    return drawer_answer(request, code)


@page("POST", needs="operate")
def approve(request: PageRequest, code: str) -> HttpResponse:
    """The click carries the hash of the text that stood there."""
    approvals.approve_start(request.actor, code, forms.printable(request.POST.get("hash", "")))
    return drawer_answer(request, code)


@page("POST", needs="operate")
def give_feedback(request: PageRequest, code: str) -> HttpResponse:
    quality, timeliness = (_number(request.POST.get(name), 0) for name in ("quality", "timeliness"))
    feedback.rate(
        request.actor, code, quality, timeliness, notes=forms.reason({"reason": request.POST.get("notes", "")})
    )
    return drawer_answer(request, code)


@page("POST")
def verb(request: PageRequest, code: str, name: str) -> HttpResponse:
    """A button of the drawer. Who may press it, the verb itself decides."""
    act = VERBS.get(name)
    if act is None:
        raise NotThere("There is no such verb.")
    act(request.actor, code, forms.reason(request.POST))
    return drawer_answer(request, code)


VERBS: dict[str, Callable[[Actor, str, str], Any]] = {
    "accept": lambda actor, code, reason: transitions.accept(actor, code, note=reason),
    "return": lambda actor, code, reason: transitions.return_(actor, code, reason=reason),
    "resume": lambda actor, code, reason: transitions.resume(actor, code),
    "unblock": lambda actor, code, reason: transitions.unblock(actor, code, answer=reason),
    "retry": lambda actor, code, reason: transitions.retry(actor, code),
    "process": lambda actor, code, reason: dispatch.process(actor, code),
    "start": lambda actor, code, reason: transitions.start(actor, code),
    "complete": lambda actor, code, reason: transitions.complete(actor, code, summary=reason),
    "release": lambda actor, code, reason: transitions.release(actor, code, reason=reason),
    "pause": lambda actor, code, reason: transitions.pause(actor, code, reason=reason),
    "block": lambda actor, code, reason: transitions.block(actor, code, kind="needs_input", reason=reason),
    "cancel": lambda actor, code, reason: transitions.cancel(actor, code, reason=reason),
    "reopen": lambda actor, code, reason: transitions.reopen(actor, code, reason=reason),
    "to-ready": lambda actor, code, reason: transitions.move(actor, code, READY),
    "to-inbox": lambda actor, code, reason: transitions.move(actor, code, INBOX),
}


# ── dependencies ────────────────────────────────────────────────────────────────────────────────────────────────────


@page("POST", needs="orchestrate")
def add_dependency(request: PageRequest, code: str) -> HttpResponse:
    transitions.add_dependency(request.actor, code, _code_of(forms.printable(request.POST.get("depends_on", ""))))
    return drawer_answer(request, code)


@page("POST", needs="orchestrate")
def remove_dependency(request: PageRequest, code: str) -> HttpResponse:
    transitions.remove_dependency(request.actor, code, forms.printable(request.POST.get("depends_on", "")))
    return drawer_answer(request, code)


def _code_of(text: str) -> str:
    """A code, or the title of exactly one open task."""
    words = text.strip()
    if not words:
        raise Invalid({"depends_on": "Give the code of a task."})
    if Task.objects.filter(code=words.lower()).exists():
        return words.lower()
    codes = list(Task.objects.open().filter(title__iexact=words).values_list("code", flat=True)[:2])
    if len(codes) == 1:
        return codes[0]
    raise NotThere("There is no such task. Give its code." if not codes else "Several tasks have this title.")


@page()
def suggest(request: PageRequest) -> HttpResponse:
    """Open tasks whose code or title begins with or holds `q`, as options of a list."""
    words = forms.printable(request.GET.get("q", "")).strip()[:100]
    found: list[tuple[str, str]] = []
    if len(words) >= 2:
        tasks = Task.objects.filter(status__in=OPEN).exclude(code=request.GET.get("for", "")).order_by("-id")
        found = list(tasks.filter(code__startswith=words.lower()).values_list("code", "title")[:8])
        if not found:
            found = list(tasks.filter(title__icontains=words).values_list("code", "title")[:8])
    return render(request, "tasks/_suggestions.html", {"found": found})


@page()
def palette(request: PageRequest) -> HttpResponse:
    """What `q` finds, as options of a list; without it the palette itself."""
    words = forms.printable(request.GET.get("q", "")).strip()
    return render(request, "tasks/_palette.html", {"words": words, "groups": find(words)})


# ── what the team says ──────────────────────────────────────────────────────────────────────────────────────────────

SAID, STEP, KEY, ROLE = 10_000, 500, 200, 60  # characters


@page("POST", needs="orchestrate")
def comment(request: PageRequest, code: str) -> HttpResponse:
    collaboration.comment(request.actor, code, forms.said(request.POST, "comment", SAID))
    return drawer_answer(request, code)


@page()
def names(request: PageRequest, code: str) -> HttpResponse:
    """Who can be mentioned on this task and is called like `q`, as options of a list."""
    words = forms.printable(request.GET.get("q", "")).strip()[:60]
    found = collaboration.mentionable(Details(request.actor, code).task, words)
    return render(request, "tasks/_names.html", {"found": found})


@page("POST", needs="orchestrate")
def share(request: PageRequest, code: str) -> HttpResponse:
    """A person shares a text; agents share any JSON."""
    kind = request.POST.get("kind", "")
    if kind not in CONTEXT_KINDS:
        raise Invalid({"kind": "There is no such kind."})
    key, value = forms.said_line(request.POST, "key", KEY), forms.said(request.POST, "value", SAID)
    collaboration.share(request.actor, code, key, value, kind=kind)
    return drawer_answer(request, code)


@page("POST", needs="orchestrate")
def add_participant(request: PageRequest, code: str) -> HttpResponse:
    role = forms.optional_line(request.POST, "role", ROLE)
    collaboration.join(act_for(request.actor, forms.printable(request.POST.get("agent", ""))), code, role)
    return drawer_answer(request, code)


@page("POST", needs="orchestrate")
def remove_participant(request: PageRequest, code: str) -> HttpResponse:
    collaboration.leave(act_for(request.actor, forms.printable(request.POST.get("agent", ""))), code)
    return drawer_answer(request, code)


@page("POST", needs="orchestrate")
def remove_context(request: PageRequest, code: str) -> HttpResponse:
    collaboration.take_back(request.actor, code, forms.said_line(request.POST, "key", KEY))
    return drawer_answer(request, code)


@page("POST", needs="orchestrate")
def take_note(request: PageRequest, code: str) -> HttpResponse:
    collaboration.take_note(request.actor, code, forms.said(request.POST, "note", SAID))
    return drawer_answer(request, code)


@page("POST", needs="orchestrate")
def add_step(request: PageRequest, code: str) -> HttpResponse:
    plan.add(request.actor, code, forms.said_line(request.POST, "step", STEP))
    return drawer_answer(request, code)


@page("POST", needs="orchestrate")
def set_step(request: PageRequest, code: str, number: int) -> HttpResponse:
    state = request.POST.get("state", "")
    if state not in STEP_STATES:
        raise Invalid({"state": "There is no such state."})
    plan.change(request.actor, code, number, state=state)
    return drawer_answer(request, code)


# ── deliverables ────────────────────────────────────────────────────────────────────────────────────────────────────


@page()
def deliverable_file(request: PageRequest, code: str, number: int, shown: bool = False) -> FileResponse:
    """The file itself: as a download, or in a sandbox that runs and loads nothing, by its ending only."""
    row = Details(request.actor, code).task.deliverables.filter(number=number).exclude(file="").first()
    kind = kind_shown(row) if row else ""
    if row is None or (shown and not kind):
        raise NotThere("There is no such file.")
    try:
        content = row.file.open("rb")
    except FileNotFoundError:
        raise NotThere("The file is no longer on the disk.") from None
    name = row.filename or f"{code}-{number}"
    answer = FileResponse(content, as_attachment=not shown, filename=name)
    answer["Content-Type"] = kind if shown else "application/octet-stream"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 9 else otherwise
