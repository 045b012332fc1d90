"""The repository's own rules: pins, types without ignores, recipes and workflows that are what they say."""

import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from sqlalchemy import make_url

from livealign.live.answers import ROLES
from orchestration.runs.instance import DAGSTER_YAML, POSTGRES_YAML

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOCKERFILES = sorted((ROOT / "containers").glob("Dockerfile*"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def tool(name: str) -> str:
    found = shutil.which(name, path=str(BIN))
    if found is None:
        pytest.skip(f"{name} is not installed in this environment; `make setup` installs it")
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_in_the_one_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {normal(name) for name, _, version in (line.partition("==") for line in lines) if version}
    assert len(pinned) == len(lines)
    wanted = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    assert {normal(one.partition("[")[0]) for one in wanted if not one.startswith("livealign[")} <= pinned
    assert not [one for one in wanted if re.search(r"[<>=~]", one)], "versions belong into constraints.txt"


def test_no_type_is_ignored_in_the_library_and_the_graph() -> None:
    files = [path for package in ("livealign", "orchestration") for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 50
    assert [str(path) for path in files if "type: ignore" in path.read_text()] == []


@pytest.mark.parametrize("recipe", DOCKERFILES, ids=lambda path: path.name)
def test_container_recipes_are_sound(recipe: Path) -> None:
    done = subprocess.run([tool("hadolint"), "--no-color", str(recipe)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = recipe.read_text()
    assert "USER 10001" in text, "the process runs as nobody special"
    for extras in re.findall(r"'\.\[([a-z,]+)\]'", text):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_the_recipe_finds_its_broken_twin(tmp_path: Path) -> None:
    broken = tmp_path / "Dockerfile"
    broken.write_text("FROM python:3.11\nRUNN pip install x\n")
    assert subprocess.run([tool("hadolint"), str(broken)], capture_output=True, check=False).returncode == 1


def test_what_the_images_copy_is_there_and_is_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (.+)$", (ROOT / "containers" / "Dockerfile").read_text(), re.MULTILINE):
        sources = [word for word in line.split()[:-1] if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in allowed, source


def check_schema(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [tool("check-jsonschema"), "--builtin-schema", schema, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_the_compose_file_keeps_its_schema_and_a_broken_one_does_not(tmp_path: Path) -> None:
    done = check_schema("vendor.compose-spec", ROOT / "compose.yaml")
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "compose.yaml"
    broken.write_text((ROOT / "compose.yaml").read_text().replace("    ports:", "    portz:"))
    assert check_schema("vendor.compose-spec", broken).returncode == 1


def test_the_compose_file_has_the_four_services_and_no_secret() -> None:
    services = compose()["services"]
    assert {"webserver", "daemon", "postgres", "service"} <= services.keys()
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEYS|TOKEN", key):
                assert value.startswith("${"), f"{name} has {key} written down"
        for part in ("daemon", "service", "postgres"):
            assert services[part]["restart"] == "unless-stopped"
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "containers" / "Dockerfile").read_text(), re.MULTILINE)
    assert {one["build"]["target"] for one in services.values() if "build" in one} <= set(stages)
    assert services["worker"]["image"] == services["daemon"]["image"], "workers of other code are refused"
    assert services["worker"]["environment"]["RAY_AUTH_MODE"] == "token"
    redis = services["redis"]["command"]
    assert redis[redis.index("--appendfsync") + 1] == "always"


def test_the_roles_of_the_compose_file_share_one_log_and_start_with_their_profile() -> None:
    services = compose()["services"]
    roles = {name: services[name] for name in ("reader", "ranker")}
    for name, service in roles.items():
        environment = service["environment"]
        assert environment["LIVEALIGN_ROLE"] == name
        assert name in ROLES, "another ends the service at its start"
        assert service["profiles"] == ["roles"]
        assert service["image"] == services["service"]["image"]
        assert service["volumes"] == services["service"]["volumes"], "all follow one champion"
        assert environment["LIVEALIGN_RELEASES"] == services["service"]["environment"]["LIVEALIGN_RELEASES"]
    addresses = {services[name]["environment"]["LIVEALIGN_REDIS_URL"] for name in (*roles, "exporter")}
    assert addresses == {"${LIVEALIGN_REDIS_URL:-redis://redis:6379/0}"}
    for name in (*roles, "exporter"):
        assert services[name]["depends_on"]["redis"]["condition"] == "service_healthy"
        assert {*services[name]["profiles"]} <= {*services["redis"]["profiles"]}, "else compose refuses to start it"
    assert services["exporter"]["profiles"] == ["shared-log", "roles"]
    command, *arguments = services["exporter"]["command"]
    done = subprocess.run([BIN / command, *arguments, "--help"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    first, last = (int(port) for port in re.findall(r":(\d+)-(\d+):3000", services["ranker"]["ports"][0])[0])
    assert last > first, "room for several rankers"
    assert "ports" not in services["reader"]


def test_the_containers_instance_is_the_machines_instance_on_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "containers" / "dagster.yaml", tmp_path / "dagster.yaml")
    names = {"HOST": "postgres", "USER": "dagster", "PASSWORD": "x", "DB": "dagster"}
    for name, value in names.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{name}", value)
    config, _ = dagster_instance_config(str(tmp_path))  # Dagster's own check
    assert config["storage"]["postgres"]["postgres_db"]["hostname"] == {"env": "DAGSTER_POSTGRES_HOST"}
    here = yaml.safe_load(POSTGRES_YAML)["storage"]["postgres"]["postgres_db"]
    assert config["storage"]["postgres"]["postgres_db"] == {**here, "port": 5432}
    dialect = make_url(f"{here['scheme']}://dagster:x@postgres:5432/dagster").get_dialect()
    assert dialect.driver == "psycopg2", "the extra `postgres` brings it"
    environment = compose()["services"]["daemon"]["environment"]
    assert {f"DAGSTER_POSTGRES_{name}" for name in names} <= environment.keys()
    here = yaml.safe_load(DAGSTER_YAML)
    assert {key: config[key] for key in here} == here


def test_workflows_keep_their_schema_and_run_what_ci_runs() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "scheduled.yml"}
    done = check_schema("vendor.github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
        assert commands[0] == "bash .ci/run"
        assert {word for command in commands[1:] for word in re.findall(r"make ([a-z-]+)", command)} <= TARGETS
    assert "schedule" in yaml.safe_load((ROOT / ".github" / "workflows" / "scheduled.yml").read_text())[True]  # YAML's "on"


def test_ci_is_a_script_that_names_targets_there_are() -> None:
    script = ROOT / ".ci" / "run"
    subprocess.run(["/bin/bash", "-n", str(script)], check=True)
    named = re.findall(r"^step .*?\bmake ([a-z-]+)", script.read_text(), re.MULTILINE)
    assert named[:3] == ["setup", "lint", "test"]
    assert {"test-slow", "docs", "audit", "coverage-report"} <= set(named) <= TARGETS


class _Advisories(BaseHTTPRequestHandler):
    known: ClassVar[dict[str, list[dict[str, Any]]]] = {}

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": self.known.get(query["package"]["name"], [])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def advisories() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()


def audit(tmp_path: Path, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("sound==1.0\nleaky==2.0\n")
    command = [sys.executable, str(ROOT / ".ci" / "audit.py"), "--constraints", str(constraints), "--osv-url", url, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_audit_fails_on_a_known_vulnerability_and_names_it(
    advisories: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip_audit", reason="pip-audit is not installed in this environment; `make setup` installs it")
    assert audit(tmp_path, advisories).stdout == "audit: 2 pinned packages, 0 known vulnerabilities\n"
    hole = {
        "id": "GHSA-xxxx",
        "modified": "2025-01-01T00:00:00Z",
        "published": "2025-01-01T00:00:00Z",
        "summary": "it leaks",
        "affected": [
            {
                "package": {"name": "leaky", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}],
            }
        ],
    }
    monkeypatch.setitem(_Advisories.known, "leaky", [hole])
    done = audit(tmp_path, advisories)
    assert done.returncode == 1
    assert "leaky 2.0: GHSA-xxxx, fixed in 2.1" in done.stdout


@pytest.mark.slow
def test_without_the_database_the_audit_says_so_and_only_fails_where_it_must(tmp_path: Path) -> None:
    pytest.importorskip("pip_audit", reason="pip-audit is not installed in this environment; `make setup` installs it")
    nowhere = "http://127.0.0.1:1/v1/query"
    done = audit(tmp_path, nowhere)
    assert done.returncode == 0, done.stdout
    assert "no advisory source reachable" in done.stdout
    assert audit(tmp_path, nowhere, "--insist").returncode == 1
