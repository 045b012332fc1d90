"""The Kubernetes example against KubeRay's schema, and against what the cluster needs."""

import copy
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "containers" / "kubernetes" / "raycluster.yaml"
SCHEMA = Path(__file__).with_name("raycluster_schema.yaml")


def documents() -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture
def cluster() -> dict[str, Any]:
    return copy.deepcopy(documents()["RayCluster"])


def problems(cluster: dict[str, Any], folder: Path) -> str:
    """What check-jsonschema says of the cluster; empty if it keeps the schema."""
    tool = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("check-jsonschema is not installed in this environment; `make setup` installs it")
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(cluster))
    command = [tool, "--schemafile", str(SCHEMA), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def container(cluster: dict[str, Any], group: str) -> dict[str, Any]:
    spec = cluster["spec"]
    of_group = spec["headGroupSpec"] if group == "head" else spec["workerGroupSpecs"][0]
    found: dict[str, Any] = of_group["template"]["spec"]["containers"][0]
    return found


def test_the_cluster_keeps_kuberays_schema(cluster: dict[str, Any], tmp_path: Path) -> None:
    assert problems(cluster, tmp_path) == ""


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda cluster: cluster["spec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}), "num-cpus"),
        (lambda cluster: cluster["spec"]["workerGroupSpecs"][0].pop("groupName"), "groupName"),
        (lambda cluster: container(cluster, "worker").update(comand=["ray"]), "comand"),
        (lambda cluster: container(cluster, "head")["resources"]["limits"].update(memory="8 GiB"), "8 GiB"),
    ],
    ids=["a number for a string", "a group without a name", "a misspelt field", "a wrong quantity"],
)
def test_a_broken_cluster_does_not(
    break_it: Callable[[dict[str, Any]], object], named: str, cluster: dict[str, Any], tmp_path: Path
) -> None:
    break_it(cluster)
    assert named in problems(cluster, tmp_path)


def test_head_and_workers_are_one_image_with_a_token_from_the_secret(cluster: dict[str, Any]) -> None:
    head, worker = container(cluster, "head"), container(cluster, "worker")
    assert head["image"] == worker["image"], "workers of other code are refused"
    for one in (head, worker):
        environment = {variable["name"]: variable for variable in one["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        assert environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "livealign-ray", "key": "auth_token"}
        assert environment["RAY_USAGE_STATS_ENABLED"]["value"] == "0"
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
    assert not re.search(r"auth_token: *\S|stringData|kind: Secret", MANIFEST.read_text()), "no secret is written down"


def test_the_head_has_no_processors_and_runs_what_compose_runs(cluster: dict[str, Any]) -> None:
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert "--num-cpus=0" in (ROOT / "containers" / "with_ray.sh").read_text()
    daemon = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["daemon"]
    head = container(cluster, "head")
    assert [*head["command"], *head["args"]] == daemon["command"]
    settings = dict(
        pair.split("=", 1) for pair in next(v["value"] for v in head["env"] if v["name"] == "LIVEALIGN_SET").split()
    )
    workers = cluster["spec"]["workerGroupSpecs"][0]
    assert settings["machines.engine"] == "ray"
    assert int(settings["machines.workers"]) == workers["replicas"] == workers["maxReplicas"]
    assert settings["machines.store"].startswith("s3://"), "workers share no disk with the head"


def test_versions_and_ports_are_those_of_the_rest(cluster: dict[str, Any]) -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray=="))
    assert cluster["spec"]["rayVersion"] == pinned["ray"]
    workers = cluster["spec"]["workerGroupSpecs"][0]
    probed = container(cluster, "worker")["livenessProbe"]["tcpSocket"]["port"]
    assert str(probed) == workers["rayStartParams"]["node-manager-port"]
    claim = documents()["PersistentVolumeClaim"]["metadata"]["name"]
    volumes = cluster["spec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume] == [claim]


def test_only_the_clusters_pods_and_the_operator_reach_its_ports() -> None:
    policy = documents()["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["podSelector"]["matchLabels"] == {"ray.io/cluster": documents()["RayCluster"]["metadata"]["name"]}
    assert all("podSelector" in source for rule in policy["ingress"] for source in rule["from"])
