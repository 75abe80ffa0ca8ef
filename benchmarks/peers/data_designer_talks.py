"""Talks by NVIDIA Data Designer: one text column for each call of a talk.

`python data_designer_talks.py URL TALKS.json CALLS IN_FLIGHT FOLDER` under an environment that
has data-designer. Its limits of requests and tasks at once are those of the benchmark.
"""

# mypy: ignore-errors
# The libraries live in another environment.

import json
import os
import sys
import time
from pathlib import Path

os.environ["NEMO_TELEMETRY_ENABLED"] = "false"
os.environ["DATA_DESIGNER_HOME"] = sys.argv[5]

import pandas
from data_designer.config import (
    ChatCompletionInferenceParams,
    DataDesignerConfigBuilder,
    DataFrameSeedSource,
    LLMTextColumnConfig,
    ModelConfig,
    ModelProvider,
    RunConfig,
    SamplingStrategy,
)
from data_designer.interface import DataDesigner


def column(call: int) -> LLMTextColumnConfig:
    """The column of one call: the talk so far is its prompt, and its role's view the system's."""
    role = "doctor" if call % 2 else "patient"
    said = "\n".join(f"{{{{ line_{i} }}}}" for i in range(call))
    return LLMTextColumnConfig(
        name=f"line_{call}",
        model_alias="fake",
        system_prompt=f"{{{{ {role} }}}}",
        prompt=f"{{{{ greeting }}}}\n{said}",
    )


def main() -> None:
    """Make the talks, and print how long it took."""
    url, talks_file, calls, in_flight, folder = sys.argv[1:]
    frame = pandas.DataFrame(json.loads(Path(talks_file).read_text(encoding="utf-8")))
    model = ModelConfig(
        alias="fake",
        model="fake",
        provider="fake",
        skip_health_check=True,
        inference_parameters=ChatCompletionInferenceParams(
            temperature=0.7, top_p=0.95, max_tokens=400, max_parallel_requests=int(in_flight)
        ),
    )
    builder = DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(
        DataFrameSeedSource(df=frame), sampling_strategy=SamplingStrategy.ORDERED
    )
    for call in range(int(calls)):
        builder.add_column(column(call))
    designer = DataDesigner(
        artifact_path=folder,
        model_providers=[ModelProvider(name="fake", endpoint=url, api_key="none")],
    )
    designer.set_run_config(
        RunConfig(max_in_flight_tasks=max(1024, int(in_flight)), otel_metrics_port=None)
    )
    started = time.monotonic()
    made = designer.create(builder, num_records=len(frame)).load_dataset()
    seconds = time.monotonic() - started
    lines = [f"line_{call}" for call in range(int(calls))]
    whole = int(made[lines].map(lambda text: bool(text)).all(axis=1).sum())
    print(json.dumps({"seconds": seconds, "talks": whole}))


if __name__ == "__main__":
    main()
