"""The admin: what all its pages share, and the pages of the floor's nouns. Edits go through the verbs, never around them.

An edit here is one call of the noun's verb, so it is recorded once and shows on open boards like any other; what a verb
refuses is shown as its sentence. State is read-only, and so are the log, its seals and the books.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from mission_control import log, loops
from mission_control.accounts import people
from mission_control.actors import Actor, person
from mission_control.errors import Refused
from mission_control.models import Activity, Circuit, Delivery, Fleet, Seal, User, Watermark, Webhook
from mission_control.money import to_micro_usd, to_usd
from mission_control.outbound import deliveries, webhooks

MOST_COUNTED = 10_000  # rows a list counts and pages through; beyond that, search or filter
MOST_AT_ONCE = 500  # rows one action may touch

admin.site.site_title = admin.site.site_header = "Mission Control"
admin.site.index_title = "Everything, at its source"
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # the product's own login, with its limits, stands in front
# The role decides everything; the tables of the login change by its own pages only.
admin.site.unregister([Group, EmailAddress, Authenticator])


def actor_of(request: HttpRequest) -> Actor:
    return person(request.user)  # type: ignore[arg-type]  # the admin lets nobody in who is not signed in


class BoundedPaginator(Paginator):
    """Counts no further than MOST_COUNTED: a list over a million rows opens as fast as one over a hundred."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


# ── forms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class WordsField(forms.CharField):
    """A list of words as one line with commas. `fold`: lower case and sorted, as capabilities are kept."""

    def __init__(self, *, fold: bool = False, most: int = 50, **options: Any) -> None:
        self.fold, self.most = fold, most
        super().__init__(widget=forms.TextInput(attrs={"class": "vTextField"}), **options)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        given = value if isinstance(value, list) else (super().to_python(value) or "").split(",")
        words = list(dict.fromkeys(word.strip().lower() if self.fold else word.strip() for word in given))
        return sorted(filter(None, words)) if self.fold else list(filter(None, words))

    def validate(self, value: Any) -> None:
        super().validate(value)
        if len(value) > self.most or any(len(word) > 50 for word in value):
            raise ValidationError(f"Up to {self.most} words of up to 50 letters.")


class UsdField(forms.CharField):
    """An amount in USD as a decimal on the page, integer micro-USD inside, None when empty."""

    def prepare_value(self, value: Any) -> Any:
        return to_usd(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return to_micro_usd(text)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class VerbForm(forms.ModelForm):
    """Knows what its reader saw: a field counts as changed when it differs from that, and a field that somebody else
    changed in between is refused. Carries the refusal of the verb that it was sent to.
    """

    refusal: Refused | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            for field in self.fields.values():
                field.show_hidden_initial = not field.disabled

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in self.changed_data if self.instance.pk else ():
            field, seen = self.fields[name], self[name]
            shown = field.hidden_widget().value_from_datadict(self.data, self.files, seen.html_initial_name)
            if field.has_changed(self.get_initial_for_field(field, name), shown):
                self.add_error(name, "Somebody changed this in the meantime. Load the page again to see it.")
        if self.refusal is not None:
            told = {detail["field"]: detail["message"] for detail in getattr(self.refusal, "details", [])}
            for name, message in told.items():
                self.add_error(name if name in self.fields else None, message)
            if not told:
                self.add_error(None, self.refusal.sentence)
        return cleaned


class ReasonForm(ActionForm):
    """The bar of actions with a line for the reason that some verbs want."""

    reason = forms.CharField(required=False, max_length=2000, label="Reason or answer")


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class NounAdmin(admin.ModelAdmin):
    """What every page shares: lists that do not count everything, the log in place of the admin's own history."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    sortable_by = ()  # a click on a column that has no index would sort the whole table
    log_field = ""  # the field of an activity that names this noun
    log_name = "slug"  # the attribute that it holds

    def log_addition(self, *_: Any) -> None:  # type: ignore[override]
        """Nothing: the verb has recorded it."""

    log_change = log_deletions = log_addition  # type: ignore[assignment]

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The history is the log: everything, by anyone, through any door."""
        found = self.get_object(request, unquote(object_id))
        query = urlencode({self.log_field: getattr(found, self.log_name)}) if found and self.log_field else ""
        return redirect(f"{reverse('admin:mission_control_activity_changelist')}?{query}")


class ReadOnlyAdmin(NounAdmin):
    """To be looked at. What changes these rows are the verbs of others, or nothing at all."""

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission


class ReadOnlyRows(admin.TabularInline):
    """The rows of a noun on the page of the noun that owns them, to be looked at."""

    extra = 0
    show_change_link = True

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission


class VerbAdmin(NounAdmin):
    """A noun that is made, edited and deleted through its verbs. A subclass names them in the three methods below."""

    form = VerbForm
    actions: Sequence[Any] = ("delete_selected",)

    def make(self, actor: Actor, fields: dict[str, Any]) -> Model:
        """The verb that makes one from the filled-in fields."""
        raise NotImplementedError

    def edit(self, actor: Actor, row: Any, changes: dict[str, Any]) -> None:
        """The verb that changes these fields."""
        raise NotImplementedError

    def remove(self, actor: Actor, row: Any) -> None:
        """The verb that deletes it."""
        raise NotImplementedError

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"refusal": getattr(request, "refusal", None)})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in form.changed_data if name in form.cleaned_data}
        if change:
            self.edit(actor_of(request), obj, fields)
        else:
            made = self.make(actor_of(request), fields)
            obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.remove(actor_of(request), obj)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """The verb's unit of work has to be the outermost transaction. A refusal comes back as an error of the form."""
        view = super().changeform_view
        if request.method != "POST":
            return view(request, object_id, form_url, extra_context)
        try:
            return log.retried(lambda: _in_unit(view, request, object_id, form_url, extra_context))
        except Refused as refusal:
            request.refusal = refusal  # type: ignore[attr-defined]
            return view(request, object_id, form_url, extra_context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        view = super().delete_view
        if request.method != "POST":
            return view(request, object_id, extra_context)
        try:
            return log.retried(lambda: _in_unit(view, request, object_id, extra_context))
        except Refused as refusal:
            messages.error(request, refusal.sentence)
            opts = self.opts
            return redirect(f"admin:{opts.app_label}_{opts.model_name}_change", object_id)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Only the rows themselves: what else goes with them, and whether they may go, the verb decides."""
        names = [str(row) for row in objs]
        return names, {self.opts.verbose_name_plural: len(names)}, set(), []

    @admin.action(description="Delete selected", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        if not request.POST.get("post"):
            return delete_selected(self, request, queryset[:MOST_AT_ONCE])
        each(request, queryset, lambda row: self.remove(actor_of(request), row), "deleted")
        return None


def _in_unit(view: Callable[..., Any], *args: Any) -> Any:
    with log.unit():
        return view(*args)


def each(request: HttpRequest, rows: QuerySet[Any], verb: Callable[[Any], object], done_word: str) -> None:
    """Call the verb for each row, each in a transaction of its own, and say what came of it."""
    chosen = list(rows[: MOST_AT_ONCE + 1])
    if len(chosen) > MOST_AT_ONCE:
        messages.error(request, f"Choose up to {MOST_AT_ONCE} at once. Nothing was changed.")
        return
    done = 0
    for row in chosen:
        name = str(row)
        try:
            verb(row)
            done += 1
        except Refused as refusal:
            messages.error(request, f"{name}: {refusal.sentence}")
    if done:
        messages.success(request, f"{done} {done_word}.")


def action_of(name: str, label: str, verb: Callable[..., object], done_word: str) -> Any:
    """An admin action that calls `verb(actor, row, reason)` for each chosen row."""

    def run(modeladmin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        reason = request.POST.get("reason", "").strip().replace("\x00", "")
        actor = actor_of(request)
        each(request, queryset, lambda row: verb(actor, row, reason), done_word)

    run.__name__ = name
    return admin.action(description=label, permissions=["view"])(run)


def words_filter(field: str, heading: str, words: Iterable[str]) -> type[admin.SimpleListFilter]:
    """A filter over known words. The stock one asks the table which there are, which at a million rows takes its time."""

    class WordsFilter(admin.SimpleListFilter):
        title, parameter_name = heading, field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(word, word.replace("_", " ").capitalize()) for word in words]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{field: self.value()}) if self.value() else queryset

    return WordsFilter


def usd(field: str, heading: str) -> Any:
    """A column that shows integer micro-USD as dollars."""

    @admin.display(description=heading)
    def shown(row: Any) -> str:
        amount = to_usd(getattr(row, field))
        return f"${amount}" if amount is not None else "–"

    return shown


# ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class PersonForm(VerbForm, UserChangeForm):
    """Name, e-mail, role and access of a person; the password has a page of its own."""


@admin.register(User)
class PersonAdmin(VerbAdmin, UserAdmin):
    form = PersonForm
    list_display = ("username", "role", "is_active", "first_name", "last_name", "email", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("role", "is_active")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "description": "Viewers look, operators steer the work, admins also manage people and keys.",
                "fields": ("username", "role", "usable_password", "password1", "password2"),
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("username", "last_login", "date_joined") if obj else ()  # the log knows people by their username

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """A new person comes whole from the form, which has set the password."""
        if change:
            self.edit(actor_of(request), obj, {name: form.cleaned_data[name] for name in form.changed_data})
        else:
            people.create(actor_of(request), obj)

    def edit(self, actor: Actor, row: User, changes: dict[str, Any]) -> None:
        people.change(actor, row, changes)

    def remove(self, actor: Actor, row: User) -> None:
        people.delete(actor, row)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """Past UserAdmin's own, which opens a transaction around the verb's."""
        return self.changeform_view(request, None, form_url, extra_context)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        view = super().user_change_password
        if request.method != "POST":
            return view(request, id, form_url)
        return log.retried(lambda: _in_unit(view, request, id, form_url))

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """Called by the password page when the form has set one; an edit has recorded itself."""
        if request.resolver_match and request.resolver_match.url_name == "auth_user_password_change":
            people.password_changed(actor_of(request), obj)


# ── the fleet and the log ───────────────────────────────────────────────────────────────────────────────────────────


@admin.register(Fleet)
class FleetAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "seq", "frozen_at", "frozen_by", "frozen_reason")
    action_form = ReasonForm
    actions = (
        action_of(
            "freeze", "Freeze: stop all new claims", lambda actor, _, reason: log.freeze(actor, reason), "frozen"
        ),
        action_of("thaw", "Thaw: let claims through", lambda actor, _, __: log.thaw(actor), "thawed"),
    )


@admin.register(Activity)
class ActivityAdmin(ReadOnlyAdmin):
    list_display = ("seq", "at", "kind", "level", "who", "venture", "task", "agent", "title", "message")
    list_filter = ("level",)
    search_fields = ("task__exact", "agent__exact", "venture__exact")
    search_help_text = "The code of a task, the slug of an agent or of a venture"

    @admin.display(description="who")
    def who(self, row: Activity) -> str:
        return f"{row.actor_type} {row.actor}"


@admin.register(Seal)
class SealAdmin(ReadOnlyAdmin):
    list_display = ("seq", "mac", "key_id")
    ordering = ("-seq",)


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    """Their addresses are shown: who may look here may change them by the API."""

    list_display = ("code", "url", "agent", "enabled", "disabled_reason", "failures", "hold_until", "delivered_at")
    list_filter = ("enabled",)
    search_fields = ("code__exact", "agent__exact")
    search_help_text = "The id of a webhook, or the slug of an agent"
    actions = (
        action_of(
            "enable", "Enable", lambda actor, row, _: webhooks.change(actor, row.code, {"enabled": True}), "enabled"
        ),
        action_of(
            "disable", "Disable", lambda actor, row, _: webhooks.change(actor, row.code, {"enabled": False}), "disabled"
        ),
        action_of("test", "Send a test", lambda actor, row, _: deliveries.test(actor, row.code), "sent a test"),
    )


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("message_id", "webhook", "seq", "kind", "state", "tries", "next_at", "created_at")
    list_select_related = ("webhook",)
    list_filter = (words_filter("state", "state", [state for state, _ in Delivery.STATES]),)
    search_fields = ("message_id__exact", "webhook__code__exact")
    search_help_text = "The webhook-id of a message, or the id of a webhook"
    actions = (
        action_of(
            "redeliver", "Send again",
            lambda actor, row, _: deliveries.redeliver(actor, row.webhook.code, row.message_id), "sent again",
        ),
    )  # fmt: skip


@admin.register(Circuit)
class CircuitAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "opened_at", "reason", "wakes", "window_began_at")
    search_fields = ("waker__exact", "woken__exact")
    search_help_text = "The slug of an agent"
    actions = (
        action_of(
            "reset",
            "Let the one call the other again",
            lambda actor, row, _: loops.reset(actor, row.waker, row.woken),
            "reset",
        ),
    )


@admin.register(Watermark)
class WatermarkAdmin(ReadOnlyAdmin):
    list_display = ("name", "seq", "at")
    ordering = ("name",)


def link_to(row: Model | None) -> str:
    """The row's name as a link to its page in the admin."""
    if row is None:
        return "–"
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', address, row)
