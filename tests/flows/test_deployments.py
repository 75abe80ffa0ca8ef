import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.overrides import PROFILES
from flows.parameters import Changes
from flows.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deployments" / "prefect.yaml"
CHECK = """
import sys, yaml
from prefect.flows import load_flow_from_entrypoint
for entry in yaml.safe_load(open(sys.argv[1]))["deployments"]:
    flow = load_flow_from_entrypoint(entry["entrypoint"])
    flow.validate_parameters(entry["parameters"])
    print(flow.name, entry["name"])
"""


def test_every_deployment_names_a_flow_that_takes_its_parameters():
    command = [sys.executable, "-c", CHECK, str(FILE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    deployed = {line.split()[0] for line in done.stdout.splitlines()}
    assert deployed == {
        "build_model",
        "generate_data",
        "grow_library",
        "train_model",
        "evaluate_model",
    }


def test_deployments_say_which_profile_and_leave_the_values_to_it():
    for entry in yaml.safe_load(FILE.read_text())["deployments"]:
        assert entry["parameters"]["profile"] in {path.stem for path in PROFILES.glob("*.yaml")}


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_profile_can_be_read(profile):
    settings = read_settings(profile, Changes())
    assert list(settings.stages) == ["sft", "dpo"]


def test_changes_of_a_run_go_over_the_profile_and_lose_nothing_else():
    plain = read_settings("embedded", Changes())
    changed = read_settings("embedded", Changes(overrides={"dpo.beta": 0.2}, budget_usd=3))
    assert (plain.stages["dpo"].beta, changed.stages["dpo"].beta) == (0.1, 0.2)
    assert changed.budget_usd == 3
    assert changed.generate == plain.generate
    assert changed.stages["dpo"].model_copy(update={"beta": 0.1}) == plain.stages["dpo"]
