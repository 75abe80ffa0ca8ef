import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_fake_server_of_the_command_line_prints_its_url_first_and_ends_when_told():
    command = [sys.executable, "-m", "tests.fake_llm", "--port", "0", "--models", "a,b"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/models", timeout=30) as response:
            models = json.load(response)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert [model["id"] for model in models["data"]] == ["a", "b"]
