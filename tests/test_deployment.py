"""What carries the code elsewhere agrees with the code: locks, Makefile, Dockerfile, compose.yaml, docs/kubernetes.yaml.

No container engine is asked: the files are parsed and held against settings, commands and addresses.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands
from packaging.requirements import Requirement

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mission_control", "ventures", "agents", "tasks")
SECRETS = ("SECRET_KEY", "LOG_KEY", "POSTGRES_PASSWORD", "VALKEY_PASSWORD")
PARTS_OF_ADDRESSES = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD"}


def text(path: str) -> str:
    return (ROOT / path).read_text()


def known_variables() -> set[str]:
    return set(re.findall(r'(?:env(?:\.\w+)?|_kept_secret)\(\s*"([A-Z_]+)"', text("mission_control/settings.py")))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(text("compose.yaml"))


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text("docs/kubernetes.yaml")))


def workload(manifests: list[dict[str, Any]], name: str) -> dict[str, Any]:
    kinds = ("Deployment", "StatefulSet")
    return next(m for m in manifests if m["kind"] in kinds and m["metadata"]["name"] == name)


def container(manifests: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return workload(manifests, name)["spec"]["template"]["spec"]["containers"][0]


# ── locks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def pins(path: str) -> dict[str, str]:
    """Name → version of a lock; extras and markers left out."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", text(path), flags=re.MULTILINE))


def test_the_locks_name_no_host():
    for path in ("requirements.txt", "requirements-dev.txt", "requirements.in", "requirements-dev.in"):
        assert not re.search(r"://|--(index|extra-index|find-links|trusted-host)|^-[if] ", text(path), re.MULTILINE), (
            path
        )


def test_every_pin_carries_hashes():
    for path in ("requirements.txt", "requirements-dev.txt"):
        entries = re.split(r"\n(?=[a-z0-9])", text(path).strip())
        assert len(entries) == len(pins(path)) > 20
        assert [entry.split(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_what_is_asked_for_is_what_is_locked():
    for wanted, locked in (("requirements.in", "requirements.txt"), ("requirements-dev.in", "requirements-dev.txt")):
        lines = [line.strip() for line in text(wanted).splitlines()]
        asked = [Requirement(line) for line in lines if line and not line.startswith(("#", "-c"))]
        have = pins(locked)
        assert len(asked) > 10
        for requirement in asked:
            assert requirement.specifier.contains(have[requirement.name.lower()]), f"{requirement} in {locked}"


def test_both_locks_agree_where_they_overlap():
    runtime, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    shared = runtime.keys() & dev.keys()
    assert "django" in shared
    assert {name: dev[name] for name in shared} == {name: runtime[name] for name in shared}


# ── Makefile and .ci/run ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_makefile_offers_every_documented_target_and_each_calls_what_exists():
    makefile = text("Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    wanted = {"run", "demo", "test", "test-fast", "check", "bench", "chaos", "screenshots", "sabotage", "lock"}
    assert wanted <= targets
    for path in re.findall(r"\.venv/bin/python ((?:tests/)?[a-z_0-9/]+\.py)", makefile):
        assert (ROOT / path).is_file(), path
    for command in re.findall(r"manage\.py (\w+)", makefile):
        assert command in get_commands()


def test_ci_runs_what_a_contributor_runs():
    path = ROOT / ".ci/run"
    assert os.access(path, os.X_OK)
    assert "exec make test" in path.read_text()
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


# ── Dockerfile ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_image_is_made_of_the_whole_product_and_nothing_else():
    copied = re.findall(r"^COPY (\S+) ", text("Dockerfile"), re.MULTILINE)
    assert set(copied) == {"requirements.txt", "manage.py", *PACKAGES, "templates", "static", "docs/agent-guide.md"}
    allowed = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    assert text(".dockerignore").startswith("*\n")
    assert allowed == set(copied)
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_the_image_installs_the_lock_and_runs_without_root():
    lines = text("Dockerfile").splitlines()
    assert any("pip install" in line and "--require-hashes -r requirements.txt" in line for line in lines)
    user = next(line.split()[1] for line in lines if line.startswith("USER "))
    assert user not in ("root", "0")
    order = [line.split()[0] for line in lines if line.startswith(("USER ", "HEALTHCHECK ", "CMD "))]
    assert order.index("USER") < order.index("CMD")
    assert 'CMD ["python", "manage.py", "serve"]' in lines


def test_the_image_speaks_settings_that_exist():
    block = re.search(r"^ENV (.*?)\n\n", text("Dockerfile"), re.MULTILINE | re.DOTALL)
    assert block is not None
    names = set(re.findall(r"([A-Z_]+)=", block.group(1)))
    assert names - {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"} <= known_variables()
    assert "HOST" in names


# ── compose.yaml and docs/kubernetes.yaml ───────────────────────────────────────────────────────────────────────────


def test_compose_has_the_four_services_with_volumes_and_health(compose):
    assert set(compose["services"]) == {"web", "worker", "postgres", "valkey"}
    assert set(compose["volumes"]) == {"data", "postgres"}
    for name in ("postgres", "valkey"):
        assert compose["services"][name]["healthcheck"]["test"]
    for name in ("web", "worker"):
        service = compose["services"][name]
        assert service["volumes"] == ["data:/data"]
        assert {"postgres", "valkey"} <= set(service["depends_on"])
        assert all(need["condition"] == "service_healthy" for need in service["depends_on"].values())


def test_the_commands_that_run_elsewhere_exist(compose, manifests):
    for name, command in (("web", "serve"), ("worker", "worker")):
        assert compose["services"][name]["command"] == ["python", "manage.py", command]
        assert container(manifests, name)["args"] == ["python", "manage.py", command]
        assert command in get_commands()


def test_only_settings_that_exist_are_set_elsewhere(compose, manifests):
    for name in ("web", "worker"):
        assert set(compose["services"][name]["environment"]) <= known_variables()
        own = {entry["name"] for entry in container(manifests, name)["env"]}
        assert own - PARTS_OF_ADDRESSES <= known_variables()
    config = next(m for m in manifests if m["kind"] == "ConfigMap")
    assert set(config["data"]) <= known_variables()


def test_no_secret_has_a_default(compose, manifests):
    source = text("compose.yaml")
    for secret in SECRETS:
        uses = re.findall(r"\$\{" + secret + r"([^}]*)\}", source)
        assert uses, secret
        assert all(use.startswith(":?") for use in uses), secret
    for document in manifests:
        pod = document["spec"]["template"]["spec"] if "template" in document.get("spec", {}) else {"containers": []}
        for entry in (entry for part in pod["containers"] for entry in part.get("env", [])):
            if entry["name"] in SECRETS:
                assert entry["valueFrom"]["secretKeyRef"]["key"] == entry["name"]
            elif "://" in entry["value"]:
                assert re.search(r":\$\(\w+\)@", entry["value"]), entry["name"]
    assert not [document for document in manifests if document["kind"] == "Secret"]


def test_what_serves_drains_before_it_is_killed(compose, manifests):
    for name in ("web", "worker"):
        assert int(compose["services"][name]["stop_grace_period"].rstrip("s")) > 30
        assert workload(manifests, name)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 30


def test_every_service_of_kubernetes_finds_its_pods_and_every_claim_exists(manifests):
    claims = {m["metadata"]["name"] for m in manifests if m["kind"] == "PersistentVolumeClaim"}
    for service in (m for m in manifests if m["kind"] == "Service"):
        target = workload(manifests, service["metadata"]["name"])
        assert target["spec"]["template"]["metadata"]["labels"] == service["spec"]["selector"]
    for name in ("web", "worker", "postgres", "valkey"):
        spec = workload(manifests, name)["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
        volumes = spec["template"]["spec"].get("volumes", [])
        used = {volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume}
        assert used <= claims
        templates = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for mount in container(manifests, name).get("volumeMounts", [])}
        assert mounted <= {volume["name"] for volume in volumes} | templates


def test_the_health_addresses_that_probes_ask_answer(client, db, manifests):
    probes = container(manifests, "web")
    asked = {probes[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert asked == {"/readyz", "/healthz"}
    assert "/readyz" in text("Dockerfile")
    for path in asked:
        assert client.get(path, headers={"host": "localhost"}).status_code == 200, path


def test_the_probes_name_a_host_that_is_answered(manifests):
    headers = container(manifests, "web")["readinessProbe"]["httpGet"]["httpHeaders"]
    assert headers == [{"name": "Host", "value": "localhost"}]
    assert "localhost" in settings.ALLOWED_HOSTS
