"""What a journal holds and has saved, in numbers; reads only."""

from dataclasses import dataclass
from pathlib import Path

from endpoints.budget import NANOS
from endpoints.journal import Journal

MODEL = "coalesce(json_extract(request, '$.model'), '')"
GROUPS = f"""
SELECT endpoint, {MODEL} AS model, count(*), sum(prompt_tokens), sum(completion_tokens),
       sum(cost_usd), coalesce(sum(hits), 0), coalesce(sum(hits * cost_usd), 0.0)
FROM completions LEFT JOIN uses USING (digest) GROUP BY endpoint, model ORDER BY 6 DESC, 1, 2
"""
FAULTS = """
SELECT fault, count(*), sum(cost_usd) FROM completions WHERE fault IS NOT NULL
GROUP BY fault ORDER BY 2 DESC, 1
"""
SCOPES = """
SELECT scope FROM ledger UNION SELECT scope FROM leases UNION SELECT scope FROM batches ORDER BY 1
"""
BATCHES = """
SELECT endpoint, batch_id, created_at, count(digest), coalesce(sum(reserved), 0)
FROM batches LEFT JOIN batch_requests ON batch = id GROUP BY id ORDER BY created_at, id
"""


@dataclass(frozen=True)
class Group:
    """The rows of one model of one endpoint. `saved_usd`: hits at what their rows cost."""

    endpoint: str
    model: str
    rows: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    hits: int
    saved_usd: float


@dataclass(frozen=True)
class Faulty:
    """Rows whose answer cannot be used, by the name of the fault."""

    fault: str
    rows: int
    cost_usd: float


@dataclass(frozen=True)
class Scope:
    """One scope of the ledger. `dead_usd`: leases of dead processes, soon unconfirmed."""

    name: str
    spent_usd: float
    unconfirmed_usd: float
    leased_usd: float
    dead_usd: float
    batched_usd: float


@dataclass(frozen=True)
class UnderWay:
    """A batch at an endpoint; `batch_id` None where it was about to be made."""

    endpoint: str
    batch_id: str | None
    created_at: str
    requests: int
    held_usd: float


@dataclass(frozen=True)
class Survey:
    """All of it. `oldest` and `newest` are times of purchase; None where there is no row."""

    path: Path
    size_bytes: int
    groups: tuple[Group, ...]
    faults: tuple[Faulty, ...]
    scopes: tuple[Scope, ...]
    batches: tuple[UnderWay, ...]
    oldest: str | None
    newest: str | None


def survey(journal: Journal) -> Survey:
    """Count over all rows (about a second for each hundred thousand)."""
    oldest, newest = journal.read("SELECT min(created_at), max(created_at) FROM completions")[0]
    return Survey(
        path=journal.path,
        size_bytes=size_bytes(journal.path),
        groups=tuple(Group(*row) for row in journal.read(GROUPS)),
        faults=tuple(Faulty(*row) for row in journal.read(FAULTS)),
        scopes=tuple(_scope(journal, name) for (name,) in journal.read(SCOPES)),
        batches=tuple(
            UnderWay(endpoint, batch_id, created_at, requests, held / NANOS)
            for endpoint, batch_id, created_at, requests, held in journal.read(BATCHES)
        ),
        oldest=oldest,
        newest=newest,
    )


def size_bytes(path: Path) -> int:
    """What the journal takes on the disk, with the files beside it."""
    beside = (path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-claims"))
    return sum(file.stat().st_size for file in beside if file.exists())


def _scope(journal: Journal, name: str) -> Scope:
    ledger = journal.read("SELECT spent, unconfirmed FROM ledger WHERE scope = ?", name)
    spent, unconfirmed = ledger[0] if ledger else (0, 0)
    leased = dead = 0
    for ident, amount in journal.read("SELECT id, amount FROM leases WHERE scope = ?", name):
        if journal.claims.take(ident):  # nobody lives who holds it
            journal.claims.free(ident)
            dead += amount
        else:
            leased += amount
    batched = journal.read(
        "SELECT coalesce(sum(reserved), 0) FROM batch_requests JOIN batches ON id = batch "
        "WHERE scope = ?",
        name,
    )[0][0]
    return Scope(
        name, *(amount / NANOS for amount in (spent, unconfirmed, leased, max(0, dead), batched))
    )
