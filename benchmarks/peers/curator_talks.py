"""Talks by bespokelabs-curator: one pass over the data set for each call of a talk.

`python curator_talks.py URL TALKS.json CALLS IN_FLIGHT FOLDER` under an environment that has
bespokelabs-curator. Its limits a minute are set so high that they never bind.
"""

# mypy: ignore-errors
# The libraries live in another environment.

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

os.environ["TELEMETRY_ENABLED"] = "false"
os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"
# Its token counter would download a table, which a package that it needs has with it.
TABLES = importlib.util.find_spec("litellm").submodule_search_locations[0]
os.environ["TIKTOKEN_CACHE_DIR"] = f"{TABLES}/litellm_core_utils/tokenizers"

from bespokelabs import curator  # noqa: E402  # reads what is set above

NO_LIMIT = 1_000_000_000


class Speaker(curator.LLM):
    """Says the next line of every talk."""

    def prompt(self, row):
        """What the next speaker is told."""
        doctor = len(row["lines"]) % 2 == 1
        roles = ("user", "assistant") if doctor else ("assistant", "user")
        said = [{"role": roles[i % 2], "content": line} for i, line in enumerate(row["lines"])]
        if doctor:
            return [{"role": "system", "content": row["doctor"]}, *said]
        greeting = {"role": "user", "content": row["greeting"]}
        return [{"role": "system", "content": row["patient"]}, greeting, *said]

    def parse(self, row, response):
        """The row with one line more."""
        return [row | {"lines": [*row["lines"], response]}]


def main() -> None:
    """Make the talks, and print how long it took."""
    url, talks_file, calls, in_flight, folder = sys.argv[1:]
    rows = [
        talk | {"talk": number, "lines": []}
        for number, talk in enumerate(json.loads(Path(talks_file).read_text(encoding="utf-8")))
    ]
    started = time.monotonic()
    for _ in range(int(calls)):
        speaker = Speaker(
            model_name="fake",
            backend="openai",
            backend_params={
                "base_url": url,
                "api_key": "none",
                "max_requests_per_minute": NO_LIMIT,
                "max_tokens_per_minute": NO_LIMIT,
                "max_concurrent_requests": int(in_flight),
            },
            generation_params={"temperature": 0.7, "top_p": 0.95, "max_tokens": 400},
        )
        rows = list(speaker(rows, working_dir=folder).dataset)
    seconds = time.monotonic() - started
    whole = sum(len(row["lines"]) == int(calls) and all(row["lines"]) for row in rows)
    print(json.dumps({"seconds": seconds, "talks": whole}))


if __name__ == "__main__":
    main()
