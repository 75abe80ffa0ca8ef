"""The budget: a hard cap on spending, shared by every process that uses the journal.

The ledger stands in the journal's file. A process leases money from it, reserves each
request's worst case from its lease before sending, and settles on what the answer's usage
says, in the very commit that stores the answer. At any moment

    spent + unconfirmed + leases ≤ cap

so that nothing which is in flight anywhere can pass the cap, as long as the endpoint keeps
to `max_tokens`. What may have been billed without our seeing the bill (a timeout after
sending, a broken answer, a killed process's lease) counts as spent, under `unconfirmed`.
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
LEASE_IDS = 1 << 61  # leases' claims stand above those of requests (see journal claims)


@dataclass(frozen=True)
class Spending:
    """The ledger of one scope, in US dollars. `cap_usd` None: no cap."""

    spent_usd: float
    unconfirmed_usd: float
    leased_usd: float
    cap_usd: float | None


@dataclass(frozen=True)
class _Grant:
    amount: int
    committed: int  # spent and unconfirmed: what no waiting can free


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
        spent, unconfirmed = rows[0] if rows else (0, 0)
        return Spending(spent / NANOS, unconfirmed / NANOS, leased[0][0] / NANOS, self.cap_usd)

    async def reserve(self, worst_usd: float) -> int:
        """Set the worst case aside before sending; returns it in nano-dollars, for `settle`.

        Waits while requests in flight, here or in other processes, may still free enough.
        Raises BudgetExceeded where even then it would not fit under the cap.
        """
        worst = math.ceil(worst_usd * NANOS)
        if self._cap is None or worst == 0:
            return 0
        if self._available < worst:
            async with self._leasing:
                while self._available < worst:
                    await self._lease(worst)
        self._available -= worst
        self._reserved += worst
        self._in_flight += 1
        return worst

    def settle(self, reserved: int, cost_usd: float, confirmed: bool = True) -> Write:
        """End a reservation; returns what the journal must write for it (pass it to `put`).

        `confirmed` False: the cost is not known; it is the reserved worst case.
        """
        cost = math.ceil(cost_usd * NANOS)
        scope, ident = self.scope, self._id
        leased = self._cap is not None
        if reserved:
            self._reserved -= reserved
            self._in_flight -= 1
            self._available += reserved - cost
            self._return_surplus(reserved)
        elif leased:
            self._available -= cost

        def write(connection: sqlite3.Connection) -> None:
            if cost:
                _charge(connection, scope, cost, confirmed)
                if leased:
                    _change_lease(connection, ident, scope, -cost)

        return write

    def release(self, reserved: int) -> None:
        """End a reservation of which nothing was billed."""
        if reserved:
            self._reserved -= reserved
            self._in_flight -= 1
            self._available += reserved
            self._return_surplus(reserved)

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

    async def _lease(self, worst: int) -> None:
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
        if grant.committed + worst > cap:
            raise self._exceeded(worst)
        if not self._in_flight:
            await self.journal.write(lambda c: self._bury_the_dead(c))
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
        return BudgetExceeded(
            f"the budget of '{self.scope}' is used up: ${now.spent_usd + now.unconfirmed_usd:.4f} "
            f"of ${self.cap_usd:.4f} are spent{unsure}, and the next request could cost up to "
            f"${worst / NANOS:.4f}. It was not sent. Everything bought is kept in "
            f"{self.journal.path}: raise the cap and run the same command, and it goes on from "
            "here."
        )


def _charge(connection: sqlite3.Connection, scope: str, cost: int, confirmed: bool) -> None:
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
    free = cap - committed - leased
    amount = min(wish, free) if free >= least else 0
    if amount:
        _change_lease(connection, ident, scope, amount)
    return _Grant(amount, committed)


def _bury(connection: sqlite3.Connection, scope: str, ident: int) -> None:
    row = connection.execute("SELECT amount FROM leases WHERE id = ?", (ident,)).fetchone()
    if row is not None:
        connection.execute("DELETE FROM leases WHERE id = ?", (ident,))
        if row[0] > 0:
            _charge(connection, scope, row[0], confirmed=False)
