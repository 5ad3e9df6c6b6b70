"""Every entity, once.

Configured entities (provider, harness profile, variant, experiment, task card) are written by people in YAML; recorded
entities (session, credential, request, step, rollup, run, cell, attempt, …) are written by the stand. Tables, YAML
schemas and exported columns are derived from these definitions; docs/schema.md is generated from them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from agentdyno.core.records.configured import (
    Check,
    CheckKind,
    Experiment,
    HarnessProfile,
    Limits,
    ManagedBy,
    Metering,
    ModelPrice,
    Provider,
    Route,
    SetupStep,
    SideCall,
    Surface,
    TaskCard,
    Variant,
)
from agentdyno.core.records.recorded import (
    Artifact,
    Credential,
    Issuer,
    MetricRollup,
    Outcome,
    Phase,
    Purpose,
    Request,
    Session,
    SpoolCursor,
    Status,
    Step,
    TraceMetric,
    UnreadableRecord,
    UsageSource,
)
from agentdyno.core.records.runs import (
    Attempt,
    Cell,
    CellState,
    Failure,
    Run,
    Runner,
    Verdict,
)

__all__ = [
    "CONFIGURED",
    "RECORDED",
    "Artifact",
    "Attempt",
    "Cell",
    "CellState",
    "Check",
    "CheckKind",
    "Credential",
    "Experiment",
    "Failure",
    "HarnessProfile",
    "Issuer",
    "Limits",
    "ManagedBy",
    "Metering",
    "MetricRollup",
    "ModelPrice",
    "Outcome",
    "Phase",
    "Provider",
    "Purpose",
    "Request",
    "Route",
    "Run",
    "Runner",
    "Session",
    "SetupStep",
    "SideCall",
    "SpoolCursor",
    "Status",
    "Step",
    "Surface",
    "TaskCard",
    "TraceMetric",
    "UnreadableRecord",
    "UsageSource",
    "Variant",
    "Verdict",
]

CONFIGURED: Mapping[str, type] = MappingProxyType(
    {
        "provider": Provider,
        "harness_profile": HarnessProfile,
        "variant": Variant,
        "task_card": TaskCard,
        "experiment": Experiment,
    }
)
RECORDED: Mapping[str, type] = MappingProxyType(
    {
        "session": Session,
        "credential": Credential,
        "request": Request,
        "step": Step,
        "trace_metric": TraceMetric,
        "metric_rollup": MetricRollup,
        "artifact": Artifact,
        "spool_cursor": SpoolCursor,
        "unreadable_record": UnreadableRecord,
        "run": Run,
        "runner": Runner,
        "cell": Cell,
        "attempt": Attempt,
    }
)
