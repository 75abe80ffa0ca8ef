"""The newcomer's path itself: the real embedded model through every link, at its smallest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.store import Store

pytestmark = pytest.mark.slow


def run(home: Path) -> str:
    command = [sys.executable, "-m", "medfactory.cli", "run", "--profile", "smoke"]
    done = subprocess.run([*command, "--home", str(home)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_embedded_model_goes_through_every_link_and_a_second_run_reuses_all(tmp_path):
    home = tmp_path / "home"
    output = run(home)
    store = Store(home / "store")
    manifests = {manifest.step: manifest for manifest in store.manifests()}
    assert {"conversations", "preferences", "dataset", "student", "sft", "dpo"} <= set(manifests)
    assert manifests["conversations"].summary["completion_tokens"] > 0
    for manifest in manifests.values():
        store.verify(manifest)
    report = store.ref(manifests["report"]).folder
    assert str(report / "report.html") in output
    assert json.loads((report / "scorecard.json").read_text())["models"]
    assert f"{len(manifests)} reused, 0 built" in run(home)
