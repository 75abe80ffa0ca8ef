"""The budget: a hard cap on spending, shared by every process that uses the journal.

The ledger stands in the journal's file. A process leases money from it, reserves each
request's worst case from its lease before sending, and settles on what the answer's usage
says, in the very commit that stores the answer. At any moment

    spent + unconfirmed + leases ≤ cap

so that nothing which is in flight anywhere can pass the cap, as long as the endpoint keeps
to `max_tokens`. What may have been billed without our seeing the bill (a timeout after
sending, a broken answer, a killed process's lease) counts as spent, under `unconfirmed`.
Without a cap a process's lease is what it has in flight, so that this is counted all the same.
A batch's requests hold their worst cases themselves: they outlive the process that sent them.
Amounts in the ledger are whole nano-dollars, so that no rounding adds up.
"""

import asyncio
import math
import secrets
import sqlite3
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from endpoints.errors import BudgetExceeded, ConfigurationError
from endpoints.journal import Journal, Write

NANOS = 1_000_000_000
# Reservations that one more lease from the shared ledger serves, at least.
RESERVATIONS_PER_LEASE = 16
POLL_SECONDS = 0.1
# Without a cap: the share of what is in flight that may not have reached the ledger yet.
UNTOLD_SHARE = 1 / 16
BATCHED = """
SELECT coalesce(sum(reserved), 0) FROM batch_requests JOIN batches ON id = batch WHERE scope = ?
"""
LEASE_IDS = 1 << 61  # leases' claims stand above those of requests (see journal claims)


@dataclass(frozen=True)
class Spending:
    """The ledger of one scope, in US dollars. `cap_usd` None: no cap.

    `leased_usd` is held by processes, `batched_usd` by batches at an endpoint.
    """

    spent_usd: float
    unconfirmed_usd: float
    leased_usd: float
    cap_usd: float | None
    batched_usd: float = 0.0


@dataclass(frozen=True)
class _Grant:
    amount: int
    committed: int  # spent, unconfirmed, or held by a batch: what no short wait can free


class Budget:
    """One process's access to the ledger; a context manager.

    `scope` names what the cap is for (a run, a project): spending adds up under it, over all
    processes and restarts. `cap_usd` None: spending is counted, and never refused.
    """

    def __init__(self, journal: Journal, cap_usd: float | None = None, scope: str = "all") -> None:
        if cap_usd is not None and not (math.isfinite(cap_usd) and cap_usd >= 0):
            raise ConfigurationError(
                f"the budget's cap is {cap_usd!r}; it must be a number of US dollars, 0 or more, "
                "or absent for no cap"
            )
        self.journal = journal
        self.cap_usd = cap_usd
        self.scope = scope
        self._cap = None if cap_usd is None else math.floor(cap_usd * NANOS)
        self._id = LEASE_IDS | secrets.randbits(60)
        self._leasing = asyncio.Lock()
        self._available = 0
        self._reserved = 0
        self._in_flight = 0
        self._told = 0  # without a cap: what the ledger knows to be in flight
        self._untold = 0
        self._buried = False
        journal.claims.take(self._id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the unused lease back; what is still reserved counts as unconfirmed."""
        self._give_back(self._available)
        scope, ident = self.scope, self._id
        self._tell_ledger()
        self.journal.write_soon(lambda connection: _bury(connection, scope, ident))
        self.journal.write_soon(lambda connection: self.journal.claims.free(ident))

    def spending(self) -> Spending:
        """What the ledger says now, over all processes."""
        rows = self.journal.read(
            "SELECT spent, unconfirmed FROM ledger WHERE scope = ?", self.scope
        )
        leased = self.journal.read(
            "SELECT coalesce(sum(amount), 0) FROM leases WHERE scope = ?", self.scope
        )
        batched = self.journal.read(BATCHED, self.scope)
        spent, unconfirmed = rows[0] if rows else (0, 0)
        return Spending(
            spent / NANOS,
            unconfirmed / NANOS,
            leased[0][0] / NANOS,
            self.cap_usd,
            batched[0][0] / NANOS,
        )

    async def reserve(self, worst_usd: float, patient: bool = True) -> int:
        """Set the worst case aside before sending; returns it in nano-dollars, for `settle`.

        Waits while requests in flight, here or in other processes, may still free enough.
        Raises BudgetExceeded where even then it would not fit under the cap; where it does not
        fit now, if not `patient`.
        """
        worst = to_nanos(worst_usd)
        if worst == 0:
            return 0
        if not self._buried:
            self._buried = True
            await self.journal.write(self._bury_the_dead)
        if self._cap is None:
            self._reserved += worst
            self._in_flight += 1
            self._untold += worst
            if self._untold > self._told * UNTOLD_SHARE:
                self._tell_ledger()
            return worst
        if self._available < worst:
            async with self._leasing:
                while self._available < worst:
                    await self._lease(worst, patient)
        self._available -= worst
        self._reserved += worst
        self._in_flight += 1
        return worst

    def settle(self, reserved: int, cost_usd: float, confirmed: bool = True) -> Write:
        """End a reservation; returns what the journal must write for it (pass it to `put`).

        `confirmed` False: the cost is not known; it is the reserved worst case.
        """
        cost = to_nanos(cost_usd)
        scope = self.scope
        change = self._change(reserved, cost)

        def write(connection: sqlite3.Connection) -> None:
            if cost:
                charge(connection, scope, cost, confirmed)
            change(connection)

        return write

    def hand_over(self, reserved: int) -> Write:
        """End a reservation that a batch's row holds from now on; returns what to write for it."""
        return self._change(reserved, reserved)

    def release(self, reserved: int) -> None:
        """End a reservation of which nothing was billed."""
        if reserved and self._cap is None:
            self._reserved -= reserved
            self._in_flight -= 1
            self._untold -= reserved
        elif reserved:
            self._reserved -= reserved
            self._in_flight -= 1
            self._available += reserved
            self._return_surplus(reserved)

    def _change(self, reserved: int, cost: int) -> Write:
        """End a reservation; returns how the lease changes when `cost` of it is gone."""
        ident, scope = self._id, self.scope
        if self._cap is None:
            taken = self._untold - reserved  # what is untold goes along, without its own commit
            self._untold, self._told = 0, self._told + taken
            if reserved:
                self._reserved -= reserved
                self._in_flight -= 1
        else:
            taken = -cost
            self._available -= cost
            if reserved:
                self._reserved -= reserved
                self._in_flight -= 1
                self._available += reserved
                self._return_surplus(reserved)

        def write(connection: sqlite3.Connection) -> None:
            if taken:
                _change_lease(connection, ident, scope, taken)

        return write

    def _tell_ledger(self) -> None:
        """Without a cap: write soon what has changed of what is in flight."""
        if self._untold:
            change, self._untold = self._untold, 0
            self._told += change
            ident, scope = self._id, self.scope
            self.journal.write_soon(lambda c: _change_lease(c, ident, scope, change))

    def _return_surplus(self, worst: int) -> None:
        """Leave other processes what this one does not need now."""
        chunk = worst * max(RESERVATIONS_PER_LEASE, self._in_flight)
        if self._in_flight == 0:
            self._give_back(self._available)
        elif self._available > 2 * chunk:
            self._give_back(self._available - chunk)

    def _give_back(self, amount: int) -> None:
        if amount <= 0:
            return
        self._available -= amount
        scope, ident = self.scope, self._id
        self.journal.write_soon(lambda c: _change_lease(c, ident, scope, -amount))

    async def _lease(self, worst: int, patient: bool) -> None:
        """Lease enough for one more worst case, or wait a little; raises BudgetExceeded."""
        cap = self._cap
        assert cap is not None
        least = worst - self._available
        # As much again as is in use, so that a start with hundreds at once takes few leases.
        spare = worst * max(RESERVATIONS_PER_LEASE, self._in_flight) if self._in_flight else 0
        scope, ident = self.scope, self._id
        taking = asyncio.ensure_future(
            self.journal.write(lambda c: _take_lease(c, ident, scope, least, least + spare, cap))
        )
        try:
            grant: _Grant = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # What the ledger grants all the same must not be lost: others would wait for it.
            grant = await taking
            self._available += grant.amount
            self._return_surplus(worst)
            raise
        self._available += grant.amount
        if grant.amount:
            return
        if not patient or grant.committed + worst > cap:
            raise self._exceeded(worst)
        if not self._in_flight:
            await self.journal.write(self._bury_the_dead)
        await asyncio.sleep(POLL_SECONDS)

    def _bury_the_dead(self, connection: sqlite3.Connection) -> None:
        """Count the leases of processes that died as unconfirmed spending."""
        query = "SELECT id FROM leases WHERE scope = ? AND id != ?"
        for (ident,) in connection.execute(query, (self.scope, self._id)).fetchall():
            if self.journal.claims.take(ident):
                _bury(connection, self.scope, ident)
                self.journal.claims.free(ident)

    def _exceeded(self, worst: int) -> BudgetExceeded:
        now = self.spending()
        unsure = (
            f" (of which ${now.unconfirmed_usd:.4f} for requests that were cut off and may have "
            "been billed)"
            if now.unconfirmed_usd
            else ""
        )
        held = (
            f", ${now.batched_usd:.4f} more are held for batches that are under way"
            if now.batched_usd
            else ""
        )
        used = now.spent_usd + now.unconfirmed_usd
        return BudgetExceeded(
            f"the budget of '{self.scope}' is used up: ${used:.4f} of ${self.cap_usd:.4f} are "
            f"spent{unsure}{held}, and the next request could cost up to ${worst / NANOS:.4f}. It "
            f"was not sent. Everything bought is kept in {self.journal.path}: raise the cap and "
            "run the same command, and it goes on from here.",
            spent_usd=used,
            cap_usd=self.cap_usd,
        )


def to_nanos(usd: float) -> int:
    """Dollars as whole nano-dollars, rounded up."""
    return math.ceil(usd * NANOS)


def charge(connection: sqlite3.Connection, scope: str, cost: int, confirmed: bool) -> None:
    """Count so many nano-dollars as gone."""
    column = "spent" if confirmed else "unconfirmed"
    connection.execute(
        f"INSERT INTO ledger (scope, {column}) VALUES (?, ?) "
        f"ON CONFLICT (scope) DO UPDATE SET {column} = {column} + excluded.{column}",
        (scope, cost),
    )


def _change_lease(connection: sqlite3.Connection, ident: int, scope: str, change: int) -> None:
    connection.execute(
        "INSERT INTO leases (id, scope, amount) VALUES (?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET amount = amount + excluded.amount",
        (ident, scope, change),
    )


def _take_lease(
    connection: sqlite3.Connection, ident: int, scope: str, least: int, wish: int, cap: int
) -> _Grant:
    (committed,) = connection.execute(
        "SELECT coalesce(sum(spent + unconfirmed), 0) FROM ledger WHERE scope = ?", (scope,)
    ).fetchone()
    (leased,) = connection.execute(
        "SELECT coalesce(sum(amount), 0) FROM leases WHERE scope = ?", (scope,)
    ).fetchone()
    (batched,) = connection.execute(BATCHED, (scope,)).fetchone()
    free = cap - committed - leased - batched
    amount = min(wish, free) if free >= least else 0
    if amount:
        _change_lease(connection, ident, scope, amount)
    return _Grant(amount, committed + batched)


def _bury(connection: sqlite3.Connection, scope: str, ident: int) -> None:
    row = connection.execute("SELECT amount FROM leases WHERE id = ?", (ident,)).fetchone()
    if row is not None:
        connection.execute("DELETE FROM leases WHERE id = ?", (ident,))
        if row[0] > 0:
            charge(connection, scope, row[0], confirmed=False)
