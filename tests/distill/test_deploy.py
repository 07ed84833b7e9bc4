"""What deploy/ holds, as far as it can be checked without a cluster: it parses, and names what there is."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from distill.recipe import embedded

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="deploy/ is not part of this copy")

SRUN = '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\necho "srun $*" >>"$CALLS"\n'
PYTHON = '#!/bin/bash\nif [[ $1 == -c ]]; then echo 2; else echo "python $*" >>"$CALLS"; exit 3; fi\n'
# Host by host, as over many nodes: whoever reads the first name only closes the pipe on it.
SCONTROL = "#!/bin/bash\nfor host in a b c; do echo $host; sleep 0.05; done\n"


def test_the_job_of_kubernetes_runs_a_recipe_that_there_is():
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = job["spec"]["entrypoint"].split()
    assert words[:4] == ["python", "-m", "distill", "run"]
    assert words[4] in embedded()
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pods = [cluster["headGroupSpec"]["template"]["spec"], cluster["workerGroupSpecs"][0]["template"]["spec"]]
    for pod in pods:
        assert {each["name"] for each in pod["volumes"]} == {each["name"] for each in pod["containers"][0]["volumeMounts"]}
    assert words[-1].startswith(pods[0]["containers"][0]["volumeMounts"][0]["mountPath"])


def test_what_the_image_copies_is_there():
    copied = re.findall(r"^COPY (.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_the_script_of_slurm_starts_ray_on_all_nodes_and_ends_as_the_recipe_does(tmp_path):
    for name, text in (("srun", SRUN), ("python", PYTHON), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "[a-c]", "SLURM_JOB_ID": "77", "SLURM_CPUS_PER_TASK": "4", "SLURM_JOB_NUM_NODES": "2"}
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    command = ["bash", str(DEPLOY / "slurm.sh"), "digits", str(tmp_path / "out"), "--set", "seeds=[0]"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    head, others, run = sorted(
        (tmp_path / "calls").read_text().splitlines(), key=lambda line: ("python" in line, "--address" in line)
    )
    assert head.startswith("srun ray start --block")
    assert "--head --port 20077" in head
    assert others.endswith("--address a:20077")
    assert run == f"python -m distill run digits --out {tmp_path}/out --set seeds=[0]"
    token = tmp_path / "out.ray-token"
    assert re.fullmatch(r"[0-9a-f]{64}", token.read_text())
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    usage = subprocess.run(command[:2], env=environment, capture_output=True, text=True, check=False)
    assert usage.returncode != 0
    assert "usage: sbatch deploy/slurm.sh RECIPE OUT" in usage.stderr
