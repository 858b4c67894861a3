"""The templates for Slurm and Kubernetes in the README parse, and number shards from 1."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.conftest import ROOT

TEXT = (ROOT / "curate/engine/README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("script", blocks("sh"))
def test_shell_scripts_parse(script: str) -> None:
    assert shutil.which("bash")
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_indexed_job_does_every_shard_once() -> None:
    [job] = map(yaml.safe_load, blocks("yaml"))
    spec = job["spec"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy needs it
    [container] = spec["template"]["spec"]["containers"]
    script = container["args"][0].replace("curate blur", "echo")
    said = [
        subprocess.run(
            [*container["command"], script], text=True, capture_output=True, check=True,
            env={"PATH": "/usr/bin:/bin", "JOB_COMPLETION_INDEX": str(index)},
        ).stdout.split()[-1]
        for index in range(spec["completions"])
    ]  # fmt: skip
    assert said == [f"{number}/{spec['completions']}" for number in range(1, 65)]
    mounts = {each["name"] for each in container["volumeMounts"]}
    assert mounts == {each["name"] for each in spec["template"]["spec"]["volumes"]}


def test_the_array_job_does_every_shard_once() -> None:
    [script] = [each for each in blocks("sh") if "#SBATCH" in each]
    [first, last] = re.findall(r"--array=(\d+)-(\d+)", script)[0]
    body = 'srun() { shift; echo "$@"; }\n' + script
    said = subprocess.run(
        ["bash", "-c", body], text=True, capture_output=True, check=True,
        env={
            "PATH": "/usr/bin:/bin", "SOURCE": "in", "OUT": "out", "SLURM_CPUS_PER_TASK": "4",
            "SLURM_ARRAY_TASK_ID": first, "SLURM_ARRAY_TASK_COUNT": last,
        },
    ).stdout  # fmt: skip
    assert said == f"curate blur in out --workers 4 --quiet --shards 1/{last}\n"
