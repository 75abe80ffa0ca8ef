"""A process of its own that asks questions through a shared journal (run with `-m`).

Arguments: base URL, journal, number of questions, cap in US dollars ("none": no cap).
Prints `ready`, then how the run ended.
"""

import asyncio
import sys
from pathlib import Path

from endpoints.budget import Budget
from endpoints.client import Client
from endpoints.errors import BudgetExceeded
from endpoints.journal import Journal
from tests.endpoints.helpers import endpoint, short


async def main(base_url: str, path: str, count: str, cap: str) -> None:
    cap_usd = None if cap == "none" else float(cap)
    with Journal(Path(path)) as journal, Budget(journal, cap_usd) as budget:
        async with Client(endpoint(base_url, max_in_flight=4), journal, budget, {}) as client:
            print("ready", flush=True)
            asked = (client.complete(short(f"question {i}")) for i in range(int(count)))
            ends = await asyncio.gather(*asked, return_exceptions=True)
    errors = {type(end).__name__ for end in ends if isinstance(end, BaseException)}
    assert errors <= {BudgetExceeded.__name__}, ends
    print("ended", len(ends), sorted(errors), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
