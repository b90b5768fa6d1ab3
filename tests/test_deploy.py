"""The files of deploy/ against what reads them: schemas, parsers of commands, versions, marked lines."""

import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from orchestration import cli, study_file

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.iterdir() if path.name != ".env")
KUBERAY = ("kuberay-raycluster.yaml", "kuberay-rayjob.yaml")

# Fields of KubeRay's custom resources, ray.io/v1 (its API types), and of what Kubernetes nests in them, as
# far as they can be used here: an unknown name is refused by the API server, or silently dropped.
CLUSTER = {
    "upgradeStrategy", "authOptions", "suspend", "managedBy", "autoscalerOptions",
    "headServiceAnnotations", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
    "headGroupSpec", "rayVersion", "workerGroupSpecs",
}  # fmt: skip
JOB = {
    "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata",
    "clusterSelector", "submitterConfig", "managedBy", "deletionStrategy", "entrypoint",
    "runtimeEnvYAML", "jobId", "submissionMode", "entrypointResources", "entrypointNumCpus",
    "entrypointNumGpus", "ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "suspend",
}  # fmt: skip
HEAD = {"serviceType", "headService", "enableIngress", "rayStartParams", "template"}
WORKERS = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "idleTimeoutSeconds",
    "rayStartParams", "template", "scaleStrategy", "suspend",
}  # fmt: skip
CONTAINER = {
    "name",
    "image",
    "resources",
    "ports",
    "env",
    "envFrom",
    "volumeMounts",
    "command",
    "args",
    "lifecycle",
}
VOLUMES = {"persistentVolumeClaim": {"claimName", "readOnly"}, "emptyDir": {"medium", "sizeLimit"}}

# Keys of a service in the Compose specification, as far as they can be used here.
SERVICE = {
    "image", "build", "restart", "environment", "env_file", "volumes", "healthcheck", "command",
    "entrypoint", "ports", "depends_on", "networks", "user", "init",
}  # fmt: skip

PLACEHOLDER = re.compile(r"example\.org|-example\b|change-me|ami-0{8,}|fs-0{8,}")


def _read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def _commands(module: str) -> Iterator[list[str]]:
    """Yield the arguments of every `python -m module …` in deploy/, the shell's variables as they stand."""
    for path in FILES:
        text = path.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            for found in re.findall(rf"python -m {re.escape(module)} (.*)", line):
                inner = found.removesuffix('"') if found.count('"') % 2 else found  # of a quoted command
                yield shlex.split(inner, comments=True)
    for line in re.findall(r'CMD (\[.*"orchestration\.tune".*\])', (DEPLOY / "Dockerfile").read_text()):
        yield yaml.safe_load(line)[3:]


def test_every_command_of_this_project_is_one_that_it_accepts() -> None:
    parser, count = cli.parser("tune", ""), 0
    for words in _commands("orchestration.tune"):
        arguments = parser.parse_intermixed_args(words)
        study_file.load(arguments.space, arguments.overrides)
        count += 1
    assert count >= 10


def test_every_line_with_a_placeholder_is_marked() -> None:
    for path in FILES:
        if path.name == "README.md":
            continue
        lines = path.read_text().splitlines()
        found = [line for line in lines if PLACEHOLDER.search(line) and not line.startswith("#")]
        assert all("# CHANGE: " in line for line in found), path.name
        if path.suffix in (".yaml", ".sh", ".env") and path.name != "compose.yaml":
            assert any("# CHANGE: " in line for line in lines), path.name


def _keys(given: dict[str, Any], known: set[str], where: str) -> None:
    assert set(given) <= known, f"{where}: {sorted(set(given) - known)}"


def _pod(template: dict[str, Any], where: str) -> None:
    spec = template["spec"]
    _keys(spec, {"containers", "volumes", "nodeSelector", "tolerations", "serviceAccountName"}, where)
    volumes = set()
    for volume in spec["volumes"]:
        ((kind, settings),) = [item for item in volume.items() if item[0] != "name"]
        _keys(settings, VOLUMES[kind], where)
        volumes.add(volume["name"])
    for container in spec["containers"]:
        _keys(container, CONTAINER, where)
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        asked = container["resources"]
        # Extended resources such as GPUs can't be overcommitted: requests must equal limits.
        assert asked["requests"] == asked["limits"]
        assert all(isinstance(amount, str) for amount in asked["limits"].values())


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_manifests_have_fields_that_its_resources_have(name: str) -> None:
    document = _read(name)
    assert document["apiVersion"] == "ray.io/v1"
    cluster = document["spec"]
    if name == "kuberay-rayjob.yaml":
        assert document["kind"] == "RayJob"
        _keys(cluster, JOB, name)
        cluster = cluster["rayClusterSpec"]
    else:
        assert document["kind"] == "RayCluster"
    _keys(cluster, CLUSTER, name)
    _keys(cluster["autoscalerOptions"], {"idleTimeoutSeconds", "upscalingMode", "resources", "env"}, name)
    assert cluster["authOptions"] == {"mode": "token"}
    _keys(cluster["headGroupSpec"], HEAD, name)
    _pod(cluster["headGroupSpec"]["template"], name)
    for group in cluster["workerGroupSpecs"]:
        _keys(group, WORKERS, name)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        _pod(group["template"], name)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # a string map


def test_both_kuberay_manifests_describe_one_cluster() -> None:
    assert _read("kuberay-rayjob.yaml")["spec"]["rayClusterSpec"] == _read("kuberay-raycluster.yaml")["spec"]


def test_ray_accepts_the_cluster_file() -> None:
    pytest.importorskip("jsonschema")
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(_read("ray-up-aws.yaml"))
    validate_config(config)
    assert config["head_start_ray_commands"][-1].startswith("ulimit")
    assert config["available_node_types"]["head"]["max_workers"] == 0


def test_the_slurm_script_is_a_bash_script() -> None:
    script = DEPLOY / "slurm.sh"
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    options = re.findall(r"^#SBATCH --([a-z-]+)", script.read_text(), re.M)
    assert {"nodes", "gpus-per-node", "cpus-per-task", "ntasks-per-node", "time", "requeue"} <= set(options)


def test_the_compose_file_has_keys_that_compose_has_and_every_variable_has_an_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    document = _read("compose.yaml")
    _keys(document, {"name", "services", "volumes"}, "compose.yaml")
    for name, service in document["services"].items():
        _keys(service, SERVICE, name)
        for other, condition in service.get("depends_on", {}).items():
            if condition == {"condition": "service_healthy"}:
                assert "healthcheck" in document["services"][other]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in document["volumes"]
    variables = set(re.findall(r"\$\{([A-Z0-9_]+)", text))
    examples = re.findall(r"^([A-Z0-9_]+)=", (DEPLOY / "example.env").read_text(), re.M)
    assert variables == set(examples)


def test_mlflow_has_the_options_of_the_servers_command() -> None:
    spec = importlib.util.find_spec("mlflow")
    assert spec is not None and spec.origin is not None
    # Its source is read: importing its command line takes seconds.
    home = Path(spec.origin).parent
    source = "".join((home / name).read_text() for name in ("cli/__init__.py", "utils/cli_args.py"))
    known = set(re.findall(r'"(--[a-z-]+)"', source))
    words = _read("compose.yaml")["services"]["mlflow"]["command"]
    assert words[:2] == ["mlflow", "server"]
    used = {word for word in words if word.startswith("--")}
    (by_hand,) = re.findall(r"^mlflow server (.*)$", (DEPLOY / "README.md").read_text(), re.M)
    assert {word for word in shlex.split(by_hand, comments=True) if word.startswith("--")} == used
    assert {"--backend-store-uri", "--artifacts-destination", "--allowed-hosts"} <= used <= known


def test_the_image_copies_what_the_project_is_made_of_and_nothing_else() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for name in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    packages = _project()["tool"]["setuptools"]["packages"]
    assert {name.split(".")[0] for name in packages} <= copied
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    (extras,) = re.findall(r'-e "\.\[(.*)\]"', text)
    assert set(extras.split(",")) <= set(_project()["project"]["optional-dependencies"])


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_versions_are_those_of_the_project() -> None:
    wanted = {r.name: r.specifier for r in map(Requirement, _project()["project"]["dependencies"])}
    python = SpecifierSet(_project()["project"]["requires-python"])
    everything = "\n".join(path.read_text() for path in FILES)
    for name in ("torch", "mlflow"):
        said = re.findall(rf'"{name}([<>=][^"]*)"', everything)
        assert said and all(SpecifierSet(text) == wanted[name] for text in said), name
    rays = re.findall(r"rayproject/ray:([\d.]+)-py311", everything) + re.findall(
        r'rayVersion: "(.*?)"', everything
    )
    assert len(rays) == 3 and all(version in wanted["ray"] for version in rays)
    assert all(f"{v}.0" in python for v in re.findall(r"python:(3\.\d+)|PYTHON=(3\.\d+)", everything)[0] if v)
