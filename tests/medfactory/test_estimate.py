import os
import subprocess
import sys

from tests.fake_llm import FakeLLM
from tests.flows.scripted_llm import scripted_reply


def test_the_table_says_whether_a_pilot_was_bought_for_it(tmp_path):
    with FakeLLM(scripted_reply) as server:
        (tmp_path / "endpoints.yaml").write_text(
            f"endpoints: {{teacher: {{base_url: {server.base_url}, model: fake, free: true}}}}"
        )
        command = [*(sys.executable, "-m", "medfactory.cli", "generate", "--profile", "small")]
        command += ["--rows", "2", "--home", str(tmp_path / "home"), "--dry-run"]
        command += ["--set", "preferences.methods=[sampled]", "--set", "preferences.samples=2"]
        command += ["--endpoints-file", str(tmp_path / "endpoints.yaml")]

        def told(*more: str) -> str:
            done = subprocess.run(
                [*command, *more], capture_output=True, text=True, env=dict(os.environ)
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        assert "Nothing but the pilot was sent;" in told("--pilot", "2")
        asked = len(server.requests)
        assert "Nothing was sent for this;" in told()
        assert len(server.requests) == asked
