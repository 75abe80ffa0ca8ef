"""Great Expectations suites: what must hold of the tables before anything is trained on them.

The suites see derived columns (`frames.py`), and results carry counts, never values: the
Data Docs can be shown to anyone.
"""

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa

from validation.checks import CheckSettings
from validation.data_docs import make_readable_offline
from validation.errors import ExpectationsFailed
from validation.frames import case_frame, table_frame
from validation.report import SuiteResult
from validation.schemas import Language
from validation.splits import SPLITS, Split

if TYPE_CHECKING:
    import pandas as pd

SITE = "data_docs"
RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


def check_tables(
    sft: Mapping[Split, pa.Table],
    preference: Mapping[Split, pa.Table],
    limits: CheckSettings,
    docs: Path,
    problem: Mapping[Split, pa.Table] | None = None,
    passage: Mapping[Split, pa.Table] | None = None,
) -> dict[str, SuiteResult]:
    """Hold the tables (split → table) to their suites; write the Data Docs into `docs`.

    `limits` are those of the checks that the rows went through.
    A table without any row in any split is passed over. Raises ExpectationsFailed with every
    expectation that does not hold, for how many rows, and where the docs are.
    """
    gx = _great_expectations()
    frames: dict[str, tuple[pd.DataFrame, list[Any]]] = {}
    if any(len(table) for table in sft.values()):
        frames["sft"] = (table_frame(sft), _sft_suite(gx.expectations, limits))
    if any(len(table) for table in preference.values()):
        frames["preference"] = (table_frame(preference), _preference_suite(gx.expectations, limits))
    if problem and any(len(table) for table in problem.values()):
        frames["problem"] = (table_frame(problem), _problem_suite(gx.expectations, limits))
    if passage and any(len(table) for table in passage.values()):
        frames["passage"] = (table_frame(passage), _passage_suite(gx.expectations))
    every = case_frame(sft, preference, problem or {}, passage or {})
    frames["cases"] = (every, _case_suite(gx.expectations))
    if docs.exists():
        shutil.rmtree(docs)
    context = _context(gx, docs)
    failures: list[str] = []
    for name, (frame, expectations) in frames.items():
        failures += _run_suite(gx, context, name, frame, expectations)
    make_readable_offline(docs)
    if failures:
        raise ExpectationsFailed(
            f"{len(failures)} expectation(s) of the data set do not hold: {'; '.join(failures)}. "
            f"Nothing is trained on it. Look at {docs / 'index.html'}, mend the data or the "
            "settings of the checks, and run again."
        )
    return {
        name: SuiteResult(expectations=len(expectations), rows=len(frame))
        for name, (frame, expectations) in frames.items()
    }


def _great_expectations() -> Any:
    """Great Expectations without telemetry: it reads the variable when it is imported.

    Its own import uses a deprecated module of the standard library, which is not our news.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations
        import great_expectations.expectations
    return great_expectations


def _context(gx: Any, docs: Path) -> Any:
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.add_data_docs_site(
        site_name=SITE,
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(docs.absolute()),
            },
        },
    )
    return context


def _run_suite(
    gx: Any, context: Any, name: str, frame: "pd.DataFrame", expectations: list[Any]
) -> list[str]:
    """Run one suite and write its pages; returns a sentence for each expectation that fails."""
    from great_expectations.checkpoint import UpdateDataDocsAction

    asset = context.data_sources.add_or_update_pandas(name).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=name,
            validation_definitions=[definition],
            actions=[UpdateDataDocsAction(name="docs", site_names=[SITE])],
            result_format=RESULT_FORMAT,
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    return [
        _failure(name, result)
        for run in outcome.run_results.values()
        for result in run.results
        if not result.success
    ]


def _failure(table: str, result: Any) -> str:
    config = result.expectation_config
    column = config.kwargs.get("column") or config.kwargs.get("column_A") or "table"
    said = f"{table}.{column}: {config.type.removeprefix('expect_')}"
    if error := next((e["exception_message"] for e in _exceptions(result)), ""):
        return f"{said} could not be worked out ({error})"
    count = result.result.get("unexpected_count")
    rows = "" if count is None else f" fails for {count} row(s)"
    meant = f" (what must hold: {config.notes})" if config.notes else ""
    return f"{said}{rows}{meant}"


def _exceptions(result: Any) -> list[dict[str, Any]]:
    info = result.exception_info or {}
    every = [info] if "raised_exception" in info else list(info.values())
    return [entry for entry in every if entry.get("raised_exception")]


def _common(gxe: Any) -> list[Any]:
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1, notes="The table has rows."),
        gxe.ExpectColumnValuesToNotBeNull(column="record_id"),
        gxe.ExpectColumnValuesToBeUnique(column="record_id", notes="No record stands twice."),
        gxe.ExpectColumnValuesToNotBeNull(column="case_id"),
        gxe.ExpectColumnValuesToNotBeNull(column="language"),
        gxe.ExpectColumnValuesToBeInSet(column="language", value_set=list(get_args(Language))),
        gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
        gxe.ExpectColumnValuesToBeBetween(
            column="splits_of_case", min_value=1, max_value=1, notes="A case is in one split."
        ),
    ]


def _trainable(gxe: Any) -> Any:
    return gxe.ExpectColumnDistinctValuesToContainSet(
        column="split", value_set=["train"], notes="There is something to train on."
    )


def _role(gxe: Any, column: str, *roles: str) -> list[Any]:
    return [
        gxe.ExpectColumnValuesToNotBeNull(column=column),
        gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(roles)),
    ]


def _length(
    gxe: Any, name: str, least: int, limits: CheckSettings, bounded: bool = True
) -> list[Any]:
    """Bounds of one list of messages; a system message comes on top of the limit."""
    most = limits.max_messages + 1
    characters = most * limits.max_width if bounded else None
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=f"{name}_count", min_value=least, max_value=most if bounded else None
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column=f"{name}_characters", min_value=1, max_value=characters
        ),
    ]


def _sft_suite(gxe: Any, limits: CheckSettings) -> list[Any]:
    return [
        *_common(gxe),
        _trainable(gxe),
        *_length(gxe, "messages", limits.min_messages, limits),
        *_role(gxe, "messages_first_role", "user"),
        *_role(gxe, "messages_last_role", "assistant"),
    ]


def _preference_suite(gxe: Any, limits: CheckSettings) -> list[Any]:
    return [
        *_common(gxe),
        _trainable(gxe),
        *_length(gxe, "prompt", 1, limits),
        *_length(gxe, "chosen", 1, limits),
        *_length(gxe, "rejected", 1, limits, bounded=False),
        *_role(gxe, "prompt_first_role", "user"),
        *_role(gxe, "prompt_last_role", "user", "tool"),
        *_role(gxe, "chosen_last_role", "assistant"),
        *_role(gxe, "rejected_last_role", "assistant"),
        gxe.ExpectColumnValuesToBeInSet(column="chosen_equals_rejected", value_set=[False]),
        gxe.ExpectColumnValuesToNotBeNull(column="margin"),
        gxe.ExpectColumnValuesToBeBetween(column="margin", min_value=0.0),
        gxe.ExpectColumnValuesToBeBetween(column="agreement", min_value=0.0, max_value=1.0),
    ]


def _problem_suite(gxe: Any, limits: CheckSettings) -> list[Any]:
    return [
        *_common(gxe),
        *_length(gxe, "prompt", 1, limits),
        *_role(gxe, "prompt_first_role", "user"),
        *_role(gxe, "prompt_last_role", "user"),
        gxe.ExpectColumnValuesToNotBeNull(column="answer"),
        gxe.ExpectColumnValuesToNotBeNull(column="verifier"),
        gxe.ExpectColumnValuesToBeInSet(
            column="answer_among_choices",
            value_set=[True],
            notes="An answer is one of the choices.",
        ),
    ]


def _passage_suite(gxe: Any) -> list[Any]:
    return [
        *_common(gxe),
        gxe.ExpectColumnValuesToBeBetween(column="text_characters", min_value=1),
    ]


def _case_suite(gxe: Any) -> list[Any]:
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectColumnValuesToBeUnique(
            column="case_id", notes="A case is in one split over all tables."
        ),
    ]
