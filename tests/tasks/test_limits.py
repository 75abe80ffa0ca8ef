import subprocess
import sys

import pytest

TAGS = """
from tasks.data import generate_conversations
from tasks.models import evaluate_checkpoint, train_stage
print(*[sorted(t.tags) for t in (generate_conversations, train_stage, evaluate_checkpoint)])
"""


@pytest.mark.parametrize(("private", "tags"), [("", "['llm'] ['gpu'] ['gpu']"), ("1", "[] [] []")])
def test_tasks_ask_for_limits_only_where_somebody_can_have_set_them(monkeypatch, private, tags):
    monkeypatch.setenv("MEDFACTORY_PRIVATE_SERVER", private)
    done = subprocess.run([sys.executable, "-c", TAGS], capture_output=True, text=True)
    assert done.stdout.strip() == tags, done.stderr
