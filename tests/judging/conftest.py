import asyncio
import json
from pathlib import Path

import pytest

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.journal import Journal
from endpoints.pool import Member, Pool
from endpoints.settings import EndpointSettings
from judging.panel import panel_of
from tests.fake_llm import FakeLLM


def graded(body, score, errors=()):
    """An answer of the shape that is asked for, with one score for every criterion."""
    schema = body["response_format"]["json_schema"]["schema"]
    names = schema["$defs"]["Scores"]["properties"]
    scores = {name: {"reason": "because", "score": score} for name in names}
    return json.dumps(
        {"scores": scores, "errors": list(errors)}
        if "errors" in schema["properties"]
        else {"scores": scores}
    )


@pytest.fixture
def with_panel(tmp_path: Path):
    """Runs `work(panel)` with judges that answer by `reply`; its result, and the bodies seen."""

    def run(reply, work, settings, endpoints=("one",), models=("fake",), item="x"):
        async def ask(base_url):
            with Journal(tmp_path / "journal.sqlite") as journal, Budget(journal) as budget:
                clients = [
                    Client(
                        EndpointSettings(name=name, base_url=base_url, model=model, free=True),
                        journal,
                        budget,
                    )
                    for name, model in zip(endpoints, models, strict=True)
                ]
                for client in clients:
                    await client.__aenter__()
                try:
                    pool = Pool([Member(client) for client in clients])
                    return await work(panel_of(pool, settings, item))
                finally:
                    for client in clients:
                        await client.__aexit__(None, None, None)

        with FakeLLM(reply, models=models) as server:
            return asyncio.run(ask(server.base_url)), [seen.body for seen in server.requests]

    return run
