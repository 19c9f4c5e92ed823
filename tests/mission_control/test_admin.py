"""The admin of people, the fleet and the log: who gets in, what is read-only, and that people change through their verbs."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from mission_control import log
from mission_control.accounts import people
from mission_control.actors import person
from mission_control.errors import NotAllowed, Refused
from mission_control.models import Activity, Circuit, Delivery, Fleet, Seal, User, Watermark
from mission_control.outbound import webhooks
from tests.admin_pages import act, errors, form_of, send
from tests.conftest import DIRECTOR

pytestmark = pytest.mark.django_db

PEOPLE = "/admin/mission_control/user/"


@pytest.fixture
def admiral():
    return User.objects.create(username="admiral", role="admin")


@pytest.fixture
def desk(admiral):
    client = Client()
    client.force_login(admiral)
    return client


@pytest.fixture
def viewer():
    return User.objects.create(username="vera", role="viewer")


def newest() -> Activity:
    return Activity.objects.order_by("-seq")[0]


# ── who gets in ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_admins_get_in(role):
    client = Client()
    client.force_login(User.objects.create(username="olivia", role=role))
    for address in ("/admin/", PEOPLE, "/admin/tasks/task/", "/admin/mission_control/activity/"):
        assert client.get(address).status_code in (302, 403), address
    assert client.get("/admin/login/").status_code == 403


def test_a_stranger_is_sent_to_the_login_of_the_product():
    answer = Client().get("/admin/", follow=False)
    address = answer["Location"]
    while "/admin/" in address.split("?")[0]:
        answer = Client().get(address)
        address = answer["Location"]
    assert address.split("?")[0] == "/account/login"


def test_every_page_of_every_noun_opens(desk, admiral, viewer):
    log.freeze(person(admiral))
    log.seal_log()
    opened = 0
    for model, page in admin.site._registry.items():
        names = f"{model._meta.app_label}_{model._meta.model_name}"
        assert desk.get(reverse(f"admin:{names}_changelist")).status_code == 200, names
        row = model._default_manager.first()
        if row is not None:
            assert desk.get(reverse(f"admin:{names}_change", args=[row.pk])).status_code == 200, names
            opened += 1
        if page.has_add_permission(desk.get("/admin/").wsgi_request):
            assert desk.get(reverse(f"admin:{names}_add")).status_code == 200, names
    assert opened >= 5
    assert {Activity, Seal, Fleet, User, Watermark} <= set(admin.site._registry)


def test_the_tables_of_the_login_are_not_open_to_edits(desk):
    ours = {"mission_control", "ventures", "agents", "tasks"}
    assert {model._meta.app_label for model in admin.site._registry} == ours


# ── read-only ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", [Activity, Seal, Fleet, Watermark])
def test_the_log_its_seals_and_the_fleet_cannot_be_edited_added_or_deleted(desk, admiral, model):
    log.freeze(person(admiral))
    log.seal_log()
    row = model.objects.first()
    names = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    before = model.objects.values().first()
    assert desk.get(reverse(f"{names}_add")).status_code == 403
    assert desk.post(reverse(f"{names}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert desk.post(reverse(f"{names}_change", args=[row.pk]), {"seq": 9, "message": "x"}).status_code == 403
    assert model.objects.values().first() == before
    assert "delete_selected" not in desk.get(reverse(f"{names}_changelist")).content.decode()


def test_freeze_and_thaw_are_actions_of_the_fleet(desk):
    fleet = Fleet.objects.get()
    act(desk, "/admin/mission_control/fleet/", "freeze", fleet, reason="wrong prices")
    assert Fleet.objects.get().frozen_reason == "wrong prices"
    assert (newest().kind, newest().actor) == ("fleet.frozen", "admiral")
    act(desk, "/admin/mission_control/fleet/", "thaw", fleet)
    assert Fleet.objects.get().frozen_at is None


def test_a_list_stops_counting_where_nobody_pages_any_more(desk, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr("mission_control.admin.MOST_COUNTED", 120)
    Activity.objects.bulk_create(
        Activity(seq=n, kind="activity.logged", actor_type="system", actor="test") for n in range(1, 301)
    )
    page = desk.get("/admin/mission_control/activity/")
    assert page.context["cl"].result_count == 120
    assert page.context["cl"].paginator.num_pages == 3
    assert page.context["cl"].result_list[0].seq == 300


def test_the_history_of_a_noun_is_the_log(desk, admiral):
    answer = desk.get(f"/admin/mission_control/user/{admiral.pk}/history/")
    assert answer["Location"].startswith("/admin/mission_control/activity/")


# ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_role_is_recorded_once_with_before_and_after(desk, viewer):
    head = log.head()
    answer = send(desk, f"{PEOPLE}{viewer.pk}/change/", role="operator")
    assert errors(answer) == ""
    viewer.refresh_from_db()
    assert (viewer.role, viewer.is_staff) == ("operator", False)
    assert log.head() == head + 1
    line = newest()
    assert (line.kind, line.actor, line.title, line.level) == ("user.changed", "admiral", "vera", "warning")
    assert line.data == {"before": {"role": "viewer"}, "after": {"role": "operator"}}
    assert LogEntry.objects.count() == 0


def test_saving_without_a_change_records_nothing(desk, viewer):
    head = log.head()
    assert errors(send(desk, f"{PEOPLE}{viewer.pk}/change/")) == ""
    assert log.head() == head


def test_the_last_admin_keeps_the_role(desk, admiral):
    answer = send(desk, f"{PEOPLE}{admiral.pk}/change/", role="viewer")
    assert "last admin" in errors(answer)
    admiral.refresh_from_db()
    assert (admiral.role, admiral.is_superuser) == ("admin", True)
    page = desk.post(f"{PEOPLE}{admiral.pk}/delete/", {"post": "yes"}, follow=True)
    assert "last admin" in page.content.decode()
    assert User.objects.filter(pk=admiral.pk).exists()


def test_staff_flags_and_groups_cannot_be_given_by_hand(desk, viewer):
    send(desk, f"{PEOPLE}{viewer.pk}/change/", is_superuser="on", is_staff="on", groups="1", email="v@example.org")
    viewer.refresh_from_db()
    assert (viewer.is_superuser, viewer.is_staff, viewer.email) == (False, False, "v@example.org")


def test_a_person_is_added_with_a_checked_password(desk):
    weak = {
        "username": "nina",
        "role": "operator",
        "usable_password": "true",
        "password1": "12345",
        "password2": "12345",
    }
    assert "password2" in errors(send(desk, f"{PEOPLE}add/", **weak))
    strong = {**weak, "password1": "four quiet words here", "password2": "four quiet words here"}
    assert errors(send(desk, f"{PEOPLE}add/", **strong)) == ""
    nina = User.objects.get(username="nina")
    assert nina.role == "operator"
    assert nina.check_password("four quiet words here")
    assert (newest().kind, newest().title) == ("user.created", "nina")
    assert "four quiet" not in str(newest().data)


def test_setting_a_password_is_recorded_without_it(desk, viewer):
    answer = desk.post(
        f"{PEOPLE}{viewer.pk}/password/",
        {
            "usable_password": "true", "password1": "four quiet words here", "password2": "four quiet words here",
            "set-password": "1",
        },
    )  # fmt: skip
    assert answer.status_code == 302
    viewer.refresh_from_db()
    assert viewer.check_password("four quiet words here")
    assert (newest().kind, newest().data) == ("user.changed", {"change": "password"})


def test_the_hash_of_a_password_is_not_on_the_page(desk, viewer):
    viewer.set_password("four quiet words here")
    viewer.save()
    page = desk.get(f"{PEOPLE}{viewer.pk}/change/").content.decode()
    assert viewer.password not in page
    assert viewer.password.split("$")[-1] not in page


def test_people_are_deleted_through_their_verb(desk, viewer):
    messages = act(desk, PEOPLE, "delete_selected", viewer, post="yes")
    assert messages == ["1 deleted."]
    assert (newest().kind, newest().title) == ("user.deleted", "vera")


def test_a_field_that_somebody_else_changed_meanwhile_is_not_overwritten(desk, admiral, viewer):
    address = f"{PEOPLE}{viewer.pk}/change/"
    shown = form_of(desk, address)
    people.change(person(admiral), viewer, {"email": "new@example.org"})
    answer = desk.post(address, {**shown, "email": "mine@example.org"})
    assert "Somebody changed this in the meantime" in errors(answer)
    answer = desk.post(address, {**shown, "role": "operator"})
    assert errors(answer) == ""
    viewer.refresh_from_db()
    assert (viewer.role, viewer.email) == ("operator", "new@example.org")


# ── the verbs themselves ────────────────────────────────────────────────────────────────────────────────────────────


def test_only_an_admin_changes_people(viewer):
    operator = person(User.objects.create(username="olivia", role="operator"))
    with pytest.raises(NotAllowed):
        people.change(operator, viewer, {"role": "admin"})
    with pytest.raises(NotAllowed):
        people.create(operator, User(username="x"))
    with pytest.raises(NotAllowed):
        people.delete(operator, viewer)


def test_an_admin_who_may_not_sign_in_does_not_count(admiral):
    User.objects.create(username="asleep", role="admin", is_active=False)
    with pytest.raises(Refused, match="last admin"):
        people.change(person(admiral), admiral, {"is_active": False})
    other = User.objects.create(username="second", role="admin")
    people.change(person(admiral), admiral, {"role": "viewer"})
    with pytest.raises(Refused, match="last admin"):
        people.delete(person(other), other)


# ── webhooks and circuits ───────────────────────────────────────────────────────────────────────────────────────────


def test_webhooks_are_disabled_tested_and_sent_again_by_actions_and_their_secrets_are_not_shown(desk):
    hook, secret = webhooks.create(DIRECTOR, url="https://hook.example/")
    page = desk.get(reverse("admin:mission_control_webhook_change", args=[hook.pk])).content.decode()
    assert "https://hook.example/" in page
    assert secret not in page and "field-secret" not in page and 'field-old_secret"' not in page
    act(desk, "/admin/mission_control/webhook/", "test", hook)
    [delivery] = Delivery.objects.all()
    Delivery.objects.update(state="dead")
    act(desk, "/admin/mission_control/delivery/", "redeliver", delivery)
    delivery.refresh_from_db()
    assert delivery.state == "pending"
    act(desk, "/admin/mission_control/webhook/", "disable", hook)
    hook.refresh_from_db()
    assert (hook.enabled, hook.disabled_reason) == (False, "Switched off by admiral.")
    act(desk, "/admin/mission_control/webhook/", "enable", hook)
    hook.refresh_from_db()
    assert hook.enabled
    assert desk.get(reverse("admin:mission_control_delivery_changelist")).status_code == 200


def test_a_circuit_is_reset_by_an_action(desk, ada, bob):
    circuit = Circuit.objects.create(
        waker="ada", woken="bob", opened_at=log.now(), reason="They woke each other.", window_began_at=log.now()
    )
    assert "They woke each other." in desk.get(reverse("admin:mission_control_circuit_changelist")).content.decode()
    act(desk, "/admin/mission_control/circuit/", "reset", circuit)
    circuit.refresh_from_db()
    assert circuit.opened_at is None
