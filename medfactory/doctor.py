"""`medfactory doctor`: is this machine fit, and what to do where it is not."""

import asyncio
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Literal

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.embedded import embedded_model_path
from endpoints.errors import EndpointError
from endpoints.journal import Journal
from endpoints.models import Checked
from endpoints.prices import stale_price
from endpoints.settings import (
    EndpointSettings,
    cost_usd,
    find_endpoint,
    read_endpoints,
    read_key,
)

NEEDED_DISK_BYTES = 5 * 2**30
NEEDED_MEMORY_BYTES = 6 * 2**30
API_SECONDS = 3.0

Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Line:
    """One thing looked at. `bad` stops the factory, `note` limits it."""

    level: Level
    name: str
    found: str
    remedy: str = ""


def examine(home: Path, endpoint: str, endpoints_file: Path | None) -> Iterator[Line]:
    """Look at Python, torch, GPU, memory, disk, the endpoint with its key, and Prefect."""
    yield check_python(sys.version_info[:3])
    yield from check_torch()
    yield check_memory()
    yield check_disk(home)
    yield from check_endpoint(endpoint, endpoints_file)
    yield check_prefect_api(os.environ.get("PREFECT_API_URL", ""))


def check_python(version: tuple[int, int, int]) -> Line:
    """Python 3.11 or newer."""
    found = ".".join(map(str, version))
    if version < (3, 11, 0):
        return Line("bad", "Python", found, "install Python 3.11 or newer and `make run PYTHON=…`")
    return Line("ok", "Python", found)


def check_torch() -> Iterator[Line]:
    """Whether torch is there, and the GPUs that it sees."""
    if importlib.util.find_spec("torch") is None:
        yield Line("bad", "torch", "not installed", "pip install torch==2.13.0, alone and first")
        return
    yield Line("ok", "torch", metadata.version("torch"))
    import torch

    if not torch.cuda.is_available():
        remedy = "training runs on the CPU: fit for models of a few hundred million weights"
        yield Line("note", "GPU", "none that torch can use", remedy)
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gib = properties.total_memory / 2**30
        yield Line("ok", f"GPU {index}", f"{properties.name}, {gib:.0f} GiB")


def check_memory() -> Line:
    """Free memory for the embedded model and its training."""
    import psutil

    free = psutil.virtual_memory().available
    found = f"{free / 2**30:.1f} GiB free of {psutil.virtual_memory().total / 2**30:.1f}"
    if free < NEEDED_MEMORY_BYTES:
        needed = NEEDED_MEMORY_BYTES / 2**30
        remedy = f"the embedded run needs about {needed:.0f} GiB: close programs"
        return Line("bad", "memory", found, remedy)
    return Line("ok", "memory", found)


def check_disk(home: Path) -> Line:
    """Free space where the store is or will be."""
    place = next(p for p in (home.absolute(), *home.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / 2**30:.1f} GiB free at {place}"
    if free < NEEDED_DISK_BYTES:
        remedy = "free space, `medfactory sweep`, or put the store elsewhere with --home"
        return Line("bad", "disk", found, remedy)
    return Line("ok", "disk", found)


def check_endpoint(name: str, endpoints_file: Path | None) -> Iterator[Line]:
    """The endpoint is declared, its key is there (never shown), it answers, it has the model."""
    try:
        settings = find_endpoint(read_endpoints(endpoints_file), name)
    except EndpointError as error:
        yield Line("bad", "endpoint", name, str(error))
        return
    try:
        key = read_key(settings, os.environ)
        if settings.key_variable:
            yield Line("ok", "key", f"${settings.key_variable} is set" if key else "")
    except EndpointError as error:
        yield Line("bad", "key", f"${settings.key_variable} holds no key", str(error))
        return
    yield check_price(settings, date.today())
    yield _reach(settings)


def check_price(settings: EndpointSettings, today: date) -> Line:
    """The endpoint has a price, or is free, and the price is not old."""
    try:
        cost_usd(settings, 0, 0)
    except EndpointError as error:
        return Line("bad", "price", f"{settings.model} has none", str(error))
    if settings.prices is None:
        return Line("ok", "price", f"{settings.name} is free")
    prices = settings.prices
    found = (
        f"${prices.input_usd_per_million_tokens:g} in, ${prices.output_usd_per_million_tokens:g} "
        f"out for a million tokens of {settings.model}, as of {prices.as_of}"
    )
    if old := stale_price(settings.model, prices, today):
        return Line("note", "price", found, old)
    return Line("ok", "price", found)


def _reach(settings: EndpointSettings) -> Line:
    try:
        if settings.embedded:
            path = settings.embedded.model_file or embedded_model_path()
            found = f"{settings.name}: {settings.model} in process, {path.name}"
            return Line("ok", "endpoint", found)
        checked = asyncio.run(_ask(settings))
    except EndpointError as error:
        return Line("bad", "endpoint", settings.name, str(error))
    found = f"{settings.name} answers in {checked.latency_seconds:.2f} s"
    if checked.warning:
        return Line("note", "endpoint", found, checked.warning)
    return Line("ok", "endpoint", f"{found}, has {settings.model}")


async def _ask(settings: EndpointSettings) -> Checked:
    """Ask for the list of models, which costs nothing; the journal is a passing one."""
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal") as journal:
        async with Client(settings, journal, Budget(journal)) as client:
            return await client.check()


def check_prefect_api(url: str) -> Line:
    """The Prefect server of the person's own, where one is configured."""
    if not url:
        return Line("ok", "Prefect API", "none configured: each run brings its own")
    from urllib.request import urlopen

    try:
        with urlopen(f"{url.rstrip('/')}/health", timeout=API_SECONDS):
            return Line("ok", "Prefect API", f"{url} answers (used with --server configured)")
    except (OSError, ValueError) as error:
        remedy = (
            "start it with `prefect server start`, correct $PREFECT_API_URL, or ignore it: "
            "`medfactory run` brings its own unless --server configured is given"
        )
        return Line("note", "Prefect API", f"{url} does not answer ({error})", remedy)
