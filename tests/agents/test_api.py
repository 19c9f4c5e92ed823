"""The calls on agents: registration, oneself, CRUD with upsert, keys, joining."""

import pytest

from agents import api as calls
from agents import roster
from agents import serializers as shape
from agents.models import Agent, AgentKey
from mission_control import log
from tests.conftest import Api, a_task, claimed

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(api_of, operator):
    return api_of(operator)


def fields(answer) -> set[str]:
    assert answer.status_code == 400, answer.content
    return {line["field"] for line in answer.json()["details"]}


# ── registration ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_registers_itself_and_works_once_it_is_claimed(nobody, api, operator):
    answer = nobody.post(
        "/agents/register",
        {"name": "Newcomer", "capabilities": ["Python", "python"], "provider": "claude-code", "model": "m",
         "heartbeatInterval": 60, "available_hours": {"timezone": "Europe/Berlin", "hours": ["09:00-17:30"]}},
    )  # fmt: skip
    body = answer.json()
    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    assert set(body) == {"agent", "api_key", "claim_url", "skill_url", "ws_url"}
    assert (body["agent"]["state"], body["agent"]["capabilities"]) == ("pending_claim", ["python"])
    assert body["ws_url"].startswith("ws://")
    agent = Api(body["api_key"])
    assert agent.post("/tasks/claim", {}).json()["code"] == "pending_claim"
    roster.claim(operator, body["claim_url"].rsplit("/", 1)[1])
    assert agent.post("/tasks/claim", {}).json()["action"] == "none"
    assert agent.get("/agents/me").json()["agent"]["owner"] == "olivia"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": 5}, {"name": "x" * 121}, {"name": "a\nb"}, {"is_lead": True}, {"capabilities": "python"},
        {"capabilities": ["a,b"]}, {"heartbeat_interval": 1}, {"heartbeat_interval": "60"}, {"max_concurrent": 0},
        {"available_hours": "always"}, {"available_hours": {"timezone": "Mars/Olympus", "hours": []}},
        {"available_hours": {"hours": ["9-17"]}}, {"available_hours": {"hours": ["25:00-26:00"]}},
        {"available_hours": {"timezone": "../../etc/passwd"}}, {"connection": "telepathy"}, {"token_budget": -1},
        {"token_budget": 2**63}, {"id": "a b"}, {"id": "x" * 61}, {"owner": "olivia"}, {"reputation": 100},
        {"claimed": True}, {"nonsense": 1}, {"avatar": "x" * 17}, {"availability": "asleep"},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_registration_is_told_by_field(wrong, nobody):
    answer = nobody.post("/agents/register", {"name": "Newcomer", **wrong})
    assert {field.split(".")[0] for field in fields(answer)} == set(wrong)
    assert not Agent.objects.exists()


def test_registering_is_limited_by_address(nobody, monkeypatch):
    monkeypatch.setattr(calls, "REGISTRATIONS", (3, 60))
    said = [nobody.post("/agents/register", {"name": f"N{n}"}) for n in range(5)]
    assert [answer.status_code for answer in said] == [201] * 3 + [429] * 2
    assert (said[-1]["Retry-After"], said[-1].json()["code"]) == ("60", "too_fast")
    assert Agent.objects.count() == 3


def test_a_taken_id_is_refused(nobody, ada):
    assert fields(nobody.post("/agents/register", {"name": "x", "id": "ada"})) == {"slug"}


# ── oneself ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_reads_and_changes_itself(api_of, ada, operator):
    agent = api_of(ada)
    claimed(ada, a_task("Sew"), session_key="run")
    answer = agent.get("/agents/me")
    me = answer.json()
    assert set(me) == set(shape.MeOut().fields)
    assert (me["agent"]["id"], me["agent"]["state"], me["agent"]["current_tasks"]) == (
        "ada",
        "busy",
        [me["leases"][0]["task"]],
    )
    assert (me["leases"][0]["title"], me["leases"][0]["epoch"], me["abilities"]) == ("Sew", 1, ["read", "work"])
    assert (me["tokens_left"], me["unread_notifications"], me["frozen"]) == (None, 0, False)
    changed = agent.patch("/agents/me", {"model": "new", "token_budget": 100}, if_match=answer["ETag"])
    assert (changed.json()["agent"]["model"], changed.json()["tokens_left"]) == ("new", 100)
    assert agent.patch("/agents/me", {"model": "newer"}, if_match=answer["ETag"]).status_code == 412
    assert agent.patch("/agents/me", {"is_lead": True}).status_code == 400
    log.freeze(operator)
    assert agent.get("/agents/me").json()["frozen"] is True


def test_an_agent_reads_its_live_sessions_also_those_without_a_task(api_of, ada):
    agent = api_of(ada)
    task = a_task("Sew")
    claimed(ada, task, session_key="run")
    agent.post("/sessions", {"session_key": "ada:watch"})
    agent.post("/sessions", {"session_key": "over"})
    agent.delete("/sessions/over")
    told = agent.get("/agents/me").json()["sessions"]
    assert [(session["id"], session["type"], session["task"]) for session in told] == [
        ("ada:watch", "persistent", None), ("run", "primary", task.code),
    ]  # fmt: skip
    both = agent.post("/agents/heartbeat", {"sessions": ["run", {"key": "ada:watch", "status": "idle"}]}).json()
    assert [(line["session_key"], line["action"]) for line in both["sessions"]] == [
        ("run", "continue"), ("ada:watch", "continue"),
    ]  # fmt: skip
    assert agent.post("/agents/heartbeat", {"sessions": [5]}).status_code == 400


def test_a_person_is_no_agent(api):
    for answer in (
        api.get("/agents/me"),
        api.patch("/agents/me", {}),
        api.post("/agents/availability", {"status": "busy"}),
    ):
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("word", "availability"), [("standby", "available"), ("Online", "available"), ("idle", "available"), ("working", "busy"), ("offline", "offline")]
)  # fmt: skip
def test_availability_is_said_in_many_words(word, availability, api_of, ada):
    answer = api_of(ada).post(
        "/agents/availability", {"status": word, "until": "2026-12-01T00:00:00Z", "capabilities": ["B", "a"]}
    )
    agent = answer.json()["agent"]
    assert (agent["availability"], agent["until"], agent["capabilities"]) == (
        availability,
        "2026-12-01T00:00:00Z",
        ["a", "b"],
    )
    assert fields(api_of(ada).post("/agents/availability", {"status": "asleep"})) == {"status"}
    assert fields(api_of(ada).post("/agents/availability", {})) == {"status"}


def test_an_agent_says_what_it_can_where_it_runs_when_and_for_how_many_tokens(api, api_of, ada):
    told = {
        "capabilities": ["Python", "review"], "provider": "claude-code", "model": "any", "connection": "local",
        "available_hours": {"timezone": "Europe/Berlin", "hours": ["09:00-17:30", "22:00-02:00"]}, "token_budget": 9000,
        "heartbeat_interval": 120, "max_concurrent": 2,
    }  # fmt: skip
    made = api.post("/agents", {"id": "carol", "name": "Carol", **told}).json()["agent"]
    assert {name: made[name] for name in told} == {**told, "capabilities": ["python", "review"]}
    assert api.get("/agents?capabilities=python").json()["agents"][0]["id"] in ("carol", "ada")
    for name, wrong in (
        ("available_hours", {"timezone": "Mars/Base", "hours": ["09:00-17:30"]}),
        ("available_hours", {"timezone": "UTC", "hours": ["9 to 5"]}), ("token_budget", -1), ("connection", "carrier pigeon"),
        ("capabilities", "python"), ("max_concurrent", -1), ("heartbeat_interval", "often"),
    ):  # fmt: skip
        refused = api.patch("/agents/carol", {name: wrong})
        assert refused.status_code == 400, wrong
        assert {field.split(".")[0] for field in fields(refused)} == {name}


# ── all agents ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_agents_are_created_and_changed_by_the_same_call(api):
    made = api.post("/agents", {"id": "grace", "name": "Grace", "is_lead": True, "avatar_emoji": "🧵"})
    assert (made.status_code, made.json()["agent"]["is_lead"], made.json()["agent"]["avatar"]) == (201, True, "🧵")
    again = api.post("/agents", {"id": "grace", "description": "Sews", "status": "standby"})
    assert (again.status_code, again.json()["agent"]["description"], again.json()["agent"]["name"]) == (
        200,
        "Sews",
        "Grace",
    )
    assert api.post("/agents", {"id": "hopper"}).json()["agent"]["name"] == "hopper"
    assert api.post("/agents", {"name": "Grace"}).json()["agent"]["id"] == "grace-2"
    assert fields(api.post("/agents", {})) == {"name"}
    assert Agent.objects.count() == 3


def test_simple_clients_read_words_they_know(api, ada):
    claimed(ada, a_task())
    api.post("/agents", {"name": "Zoe", "availability": "offline"})
    busy, off = api.bare.get("/agents").json()
    assert (busy["status"], busy["avatar_emoji"], busy["is_master"]) == ("working", "", False)
    assert off["status"] == "offline"
    assert api.get("/agents/ada").json()["agent"]["status"] == "busy"


def test_agents_are_listed_and_filtered(api, ada, bob, venture):
    roster.join(ada, ada.agent, venture)
    roster.register(name="Newcomer")
    for query, slugs in (
        ("", ["ada", "bob", "newcomer"]), ("?capabilities=python", ["ada"]), ("?claimed=false", ["newcomer"]),
        ("?venture=apollo", ["ada"]), ("?q=bo", ["bob"]), ("?ordering=-name&limit=1", ["newcomer"]),
        ("?availability=busy", []),
    ):  # fmt: skip
        assert [agent["id"] for agent in api.get("/agents" + query).json()["agents"]] == slugs, query
    assert api.get("/agents/ada").json()["agent"]["ventures"] == ["apollo"]
    assert set(api.get("/agents/ada").json()["agent"]) == set(shape.AgentOut().fields)
    for wrong in ("?availability=asleep", "?claimed=perhaps", "?foo=1"):
        assert api.get("/agents" + wrong).status_code == 400


def test_agents_are_changed_and_deleted_by_who_may(api, api_of, ada, bob, viewer):
    tag = api.get("/agents/bob")["ETag"]
    assert api.patch("/agents/bob", {"model": "m"}, if_match=tag).json()["agent"]["model"] == "m"
    assert api.patch("/agents/bob", {"model": "n"}, if_match=tag).status_code == 412
    assert api_of(ada).patch("/agents/bob", {"model": "x"}).status_code == 403
    assert api_of(bob).patch("/agents/bob", {"model": "mine"}).status_code == 200
    assert api_of(viewer).patch("/agents/bob", {"model": "x"}).status_code == 403
    assert fields(api.patch("/agents/bob", {"name": "", "tokens_used": 0, "state": "busy"})) == {
        "name",
        "tokens_used",
        "state",
    }
    assert api.patch("/agents/nobody", {"model": "x"}).status_code == 404
    assert api_of(ada).delete("/agents/bob").status_code == 403
    assert api.delete("/agents/bob").status_code == 204
    assert api.get("/agents/bob").status_code == 404


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_shown_once_and_can_be_revoked(api, api_of, admin, ada, orchestrator):
    made = api.post("/agents/ada/keys", {"scopes": ["work", "orchestrate"], "label": "laptop"})
    body = made.json()
    assert (made.status_code, made["Cache-Control"], body["key"]["scopes"]) == (
        201,
        "no-store",
        ["work", "orchestrate"],
    )
    agent = Api(body["api_key"])
    assert agent.post("/tasks", {"title": "x"}).status_code == 201
    listed = api.get("/agents/ada/keys").json()["keys"]
    assert [key["prefix"] for key in listed] == [body["key"]["prefix"]]
    assert body["api_key"] not in str(listed) and set(listed[0]) == set(shape.KeyOut().fields)
    assert api.delete(f"/agents/ada/keys/{body['key']['prefix']}").status_code == 204
    assert agent.get("/tasks").status_code == 401
    assert api.delete(f"/agents/ada/keys/{body['key']['prefix']}").status_code == 404
    assert api.post("/agents/ada/keys", {"scopes": ["admin"]}).status_code == 403
    assert api_of(admin).post("/agents/ada/keys", {"scopes": ["admin"]}).status_code == 201
    assert api_of(orchestrator).post("/agents/ada/keys", {}).status_code == 403
    assert api.post("/agents/nobody/keys", {}).status_code == 404
    for wrong in ({"scopes": ["root"]}, {"scopes": "work"}, {"scopes": []}, {"overlap_hours": -1}, {"prefix": "x"}):
        assert api.post("/agents/ada/keys", wrong).status_code == 400, wrong


def test_rotation_lets_the_old_key_overlap(api, ada):
    first = api.post("/agents/ada/keys", {}).json()
    second = api.post("/agents/ada/keys", {"overlap_hours": 2}).json()
    assert Api(first["api_key"]).get("/tasks").status_code == Api(second["api_key"]).get("/tasks").status_code == 200
    assert AgentKey.objects.get(prefix=first["key"]["prefix"]).expires_at is not None
    api.post("/agents/ada/keys", {"overlap_hours": 0})
    assert Api(second["api_key"]).get("/tasks").status_code == 401


# ── joining ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_ventures_are_joined(api, api_of, ada, bob, venture, closed, stranger):
    assert api_of(bob).post("/ventures/apollo/join", {}).json()["venture"]["id"] == "apollo"
    assert api_of(bob).post("/projects/apollo/join").status_code == 200
    assert api_of(stranger).post("/ventures/backroom/join", {}).status_code == 404
    assert api_of(bob).post("/ventures/apollo/join", {"agent_id": "ada"}).status_code == 403
    assert fields(api.post("/ventures/apollo/join", {})) == {"agent_id"}
    assert api.post("/ventures/backroom/join", {"agent": "bob"}).status_code == 200
    assert api_of(bob).get("/ventures/backroom").status_code == 200


def test_the_members_of_a_venture_are_those_that_joined(api, api_of, ada, bob, closed, stranger):
    assert [agent["id"] for agent in api.get("/ventures/backroom/members").json()["members"]] == ["ada"]
    assert [agent["id"] for agent in api_of(ada).bare.get("/projects/backroom/members").json()] == ["ada"]
    assert api_of(stranger).get("/ventures/backroom/members").status_code == 404
