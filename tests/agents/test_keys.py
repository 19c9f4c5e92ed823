"""Keys: what is kept of them, what they allow, rotation and revocation."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents import keys, roster
from agents.models import AgentKey
from mission_control.errors import Invalid, NotAllowed, NotThere
from mission_control.models import Activity
from tests.conftest import DIRECTOR

pytestmark = pytest.mark.django_db


def test_only_a_prefix_and_a_digest_are_kept(operator, ada):
    key, secret = keys.create(operator, ada.agent, label="laptop")
    assert secret.startswith("mc_") and len(secret) >= 40
    kept = str(AgentKey.objects.values().get(pk=key.pk)) + str(list(Activity.objects.values()))
    assert secret not in kept and secret[3:11] in kept
    assert keys.authenticate(secret).name == "ada"


@pytest.mark.parametrize(
    "broken", ["", "mc_", "x", "mc_short", "mc_" + "a" * 300, "mc_\x00aaaaaaaaaaaa", "mc_äöüäöüäöü"]
)
def test_what_is_not_a_key_is_nobody(broken, ada, operator):
    _, secret = keys.create(operator, ada.agent)
    assert keys.authenticate(broken) is None
    for wrong in (secret[:-1], secret + "a", secret[:-1] + ("a" if secret[-1] != "a" else "b"), secret.lower() + "A"):
        assert keys.authenticate(wrong) is None


def test_scopes_become_abilities(operator, admin, ada):
    for scopes, can, cannot in (
        (("work",), {"read", "work"}, {"orchestrate", "operate", "admin"}),
        (("orchestrate",), {"read", "orchestrate"}, {"work", "operate", "admin"}),
        (("work", "orchestrate"), {"read", "work", "orchestrate"}, {"operate", "admin"}),
        (("admin",), {"read", "work", "orchestrate", "operate", "admin"}, set()),
    ):
        actor = keys.authenticate(keys.create(admin, ada.agent, scopes=scopes)[1])
        assert all(actor.can(ability) for ability in can)
        assert not any(actor.can(ability) for ability in cannot)


def test_only_an_operator_makes_keys_and_only_an_admin_makes_admin_keys(operator, admin, viewer, ada, orchestrator):
    for actor in (viewer, ada, orchestrator):
        with pytest.raises(NotAllowed):
            keys.create(actor, ada.agent)
        with pytest.raises(NotAllowed):
            keys.revoke(actor, ada.agent, "whatever")
    with pytest.raises(NotAllowed):
        keys.create(operator, ada.agent, scopes=["admin"])
    assert keys.create(admin, ada.agent, scopes=["admin"])[0].scopes == ["admin"]
    for wrong in ([], ["root"], ["work", "root"]):
        with pytest.raises(Invalid):
            keys.create(admin, ada.agent, scopes=wrong)


def test_a_revoked_key_is_of_no_use_at_once(operator, ada):
    key, secret = keys.create(operator, ada.agent)
    assert keys.live_prefixes({key.prefix}) == {key.prefix}
    keys.revoke(operator, ada.agent, key.prefix)
    assert keys.authenticate(secret) is None
    assert keys.by_prefix(key.prefix) is None
    assert keys.live_prefixes({key.prefix}) == set()
    with pytest.raises(NotThere):
        keys.revoke(operator, ada.agent, key.prefix)


def test_a_key_is_revoked_only_through_its_own_agent(operator, ada, bob):
    key, secret = keys.create(operator, ada.agent)
    with pytest.raises(NotThere):
        keys.revoke(operator, bob.agent, key.prefix)
    assert keys.authenticate(secret) is not None


def test_a_rotated_key_overlaps_with_the_new_one_for_a_while(operator, ada):
    old_key, old = keys.create(operator, ada.agent)
    _, new = keys.create(operator, ada.agent, overlap_hours=2)
    assert keys.authenticate(old) is not None and keys.authenticate(new) is not None
    AgentKey.objects.filter(pk=old_key.pk).update(expires_at=Now() - timedelta(seconds=1))
    assert keys.authenticate(old) is None
    keys.create(operator, ada.agent, overlap_hours=0)
    assert keys.authenticate(new) is None


def test_an_unclaimed_agents_key_allows_nothing(operator):
    agent, secret, token = roster.register(name="Newcomer")
    actor = keys.authenticate(secret)
    assert actor.agent == agent and actor.abilities == frozenset()
    roster.claim(operator, token)
    assert keys.authenticate(secret).can("work")


def test_making_and_revoking_is_recorded_without_the_secret(operator, ada):
    key, secret = keys.create(operator, ada.agent, overlap_hours=1)
    keys.revoke(DIRECTOR, ada.agent, key.prefix)
    made, revoked = Activity.objects.filter(kind="agent.changed").order_by("seq")
    assert (made.data["key"], made.data["overlap_hours"]) == (key.prefix, 1)
    assert (revoked.data["change"], revoked.level) == ("revoked", "warning")
    assert secret not in made.message + revoked.message
