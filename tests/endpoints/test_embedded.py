import asyncio

import pytest

from endpoints.budget import Budget
from endpoints.embedded import embedded_model_path, open_client, serve_embedded
from endpoints.errors import ConfigurationError, EndpointDown, FaultyCompletion
from endpoints.request import ChatRequest, Completion, Sampling
from endpoints.settings import EmbeddedSettings, EndpointSettings, read_endpoints
from tests.endpoints.fake_endpoint import ask, endpoint
from validation.schemas import Message


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = read_endpoints(environment={})["embedded"]
    # Two threads that wait for each other take ten times as long where the cores are busy.
    one_thread = shipped.embedded.model_copy(update={"threads": 1})
    return shipped.model_copy(update={"embedded": one_thread})


def test_the_embedded_model_answers_on_both_routes_and_prints_nothing(embedded, journal, capfd):
    named = {"model": embedded.model, "revision": embedded.revision}
    lines = [
        ChatRequest(
            **named,
            prompt=f"Patient: I have had a cough for {days} days.\nDoctor:",
            sampling=Sampling(max_tokens=8, stop=("\n",), seed=days),
        )
        for days in range(2, 4)
    ]
    chat = ChatRequest(
        **named,
        messages=(Message(role="user", content="Answer with one word: is water wet?"),),
        sampling=Sampling(max_tokens=8, seed=1, temperature=0.0),
    )

    async def run():
        with Budget(journal, cap_usd=0.0) as budget:
            async with open_client(embedded, journal, budget) as client:
                checked = await client.check()
                asked = (client.complete(request) for request in (chat, *lines))
                return checked, await asyncio.gather(*asked, return_exceptions=True)

    checked, answers = asyncio.run(run())
    assert checked.models == (embedded.model,)
    assert checked.base_url.startswith("http://127.0.0.1:")
    # What a small model says may well be cut off; that it speaks is what counts here.
    cut = [a for a in answers if isinstance(a, FaultyCompletion) and a.fault == "truncated"]
    written = [a for a in answers if isinstance(a, Completion)] + [a.completion for a in cut]
    assert len(written) == 1 + len(lines)
    assert all(a.text.strip() and a.cost_usd == 0.0 and a.prompt_tokens > 0 for a in written)
    assert capfd.readouterr() == ("", "")
    gone = endpoint(checked.base_url, free=True, model=embedded.model, revision=embedded.revision)
    unasked = ChatRequest.model_validate(chat.model_dump() | {"sample_index": 1})
    with pytest.raises(EndpointDown):
        asyncio.run(ask(gone, journal, unasked))


def test_the_models_file_is_found_without_importing_its_package():
    assert embedded_model_path().read_bytes()[:4] == b"GGUF"


def test_a_model_file_that_cannot_be_served_is_named(tmp_path):
    def served(path):
        settings = EndpointSettings(
            name="own", model="own", free=True, embedded=EmbeddedSettings(model_file=path)
        )
        with serve_embedded(settings):
            raise AssertionError("it was served")

    with pytest.raises(ConfigurationError, match=r"gone\.gguf does not exist"):
        served(tmp_path / "gone.gguf")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises(ConfigurationError, match="could not be loaded"):
        served(broken)
    with (
        pytest.raises(ConfigurationError, match="not an embedded one"),
        serve_embedded(endpoint("http://host/v1")),
    ):
        raise AssertionError("it was served")
