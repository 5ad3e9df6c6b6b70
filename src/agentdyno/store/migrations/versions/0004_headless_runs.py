"""Headless experiments: their plans, who works on them, every attempt, and what traces tell."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_NO_OTHER_LIMITS = (
    '{"cpu_cores":null,"disk_bytes":4294967296,"guaranteed_cpu_cores":null,"guaranteed_memory_bytes":null,'
    '"memory_bytes":null,"output_bytes":268435456,"processes":1000}'
)

_ADDED = {
    "variant": (
        sa.Column("setup", TEXT, nullable=False, server_default="[]"),
        sa.Column("workspace_files", TEXT, nullable=False, server_default="{}"),
        sa.Column("home_files", TEXT, nullable=False, server_default="{}"),
    ),
    "task_card": (sa.Column("check_files", TEXT, nullable=False, server_default="{}"),),
    "experiment": (
        sa.Column("shared_model", TEXT, nullable=True),
        sa.Column("aa_arm", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("ablate", TEXT, nullable=True),
        sa.Column("ablate_parts", TEXT, nullable=False, server_default="[]"),
        sa.Column("sandbox", TEXT, nullable=True),
        sa.Column("limits", TEXT, nullable=False, server_default=_NO_OTHER_LIMITS),
        sa.Column("max_attempts", sa.BigInteger(), nullable=False, server_default="3"),
        sa.Column("keep_output", sa.Boolean(), nullable=False, server_default=sa.false()),
    ),
}


def upgrade() -> None:
    """Add the columns and create the tables."""
    for table, columns in _ADDED.items():
        for column in columns:
            op.add_column(table, column)
    _create_run()
    _create_cell()
    _create_attempt()
    op.create_table(
        "trace_metric",
        sa.Column("session_id", TEXT, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("unit", TEXT, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["session.session_id"], name=op.f("fk_trace_metric_session_id")),
        sa.PrimaryKeyConstraint("session_id", "sequence", name=op.f("pk_trace_metric")),
    )
    op.create_index(op.f("ix_trace_metric_name"), "trace_metric", ["name"])


def _create_run() -> None:
    op.create_table(
        "run",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("experiment", TEXT, nullable=False),
        sa.Column("experiment_digest", TEXT, nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("repeats", sa.BigInteger(), nullable=False),
        sa.Column("arms", TEXT, nullable=False),
        sa.Column("task_cards", TEXT, nullable=False),
        sa.Column("commits", TEXT, nullable=False),
        sa.Column("cells", sa.BigInteger(), nullable=False),
        sa.Column("plan_digest", TEXT, nullable=False),
        sa.Column("sandbox", TEXT, nullable=False),
        sa.Column("max_attempts", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["experiment_digest"], ["experiment.digest"], name=op.f("fk_run_experiment_digest")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run")),
    )
    op.create_index(op.f("ix_run_experiment"), "run", ["experiment"])
    op.create_table(
        "runner",
        sa.Column("runner_id", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("host", TEXT, nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("pid_started_ticks", sa.BigInteger(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_runner_run_id")),
        sa.PrimaryKeyConstraint("runner_id", name=op.f("pk_runner")),
    )
    op.create_index(op.f("ix_runner_run_id"), "runner", ["run_id"])


def _create_cell() -> None:
    op.create_table(
        "cell",
        sa.Column("cell_id", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("variant", TEXT, nullable=False),
        sa.Column("variant_fingerprint", TEXT, nullable=False),
        sa.Column("task_card", TEXT, nullable=False),
        sa.Column("task_card_digest", TEXT, nullable=False),
        sa.Column("repeat", sa.BigInteger(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("runner_id", TEXT, nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("session_id", TEXT, nullable=True),
        sa.Column("verdict", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_cell_run_id")),
        sa.ForeignKeyConstraint(["runner_id"], ["runner.runner_id"], name=op.f("fk_cell_runner_id")),
        sa.ForeignKeyConstraint(["task_card_digest"], ["task_card.digest"], name=op.f("fk_cell_task_card_digest")),
        sa.PrimaryKeyConstraint("cell_id", name=op.f("pk_cell")),
    )
    op.create_index(op.f("ix_cell_run_id_state_position"), "cell", ["run_id", "state", "position"])


def _create_attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("attempt_id", TEXT, nullable=False),
        sa.Column("cell_id", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("runner_id", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("session_id", TEXT, nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.Column("verdict", TEXT, nullable=True),
        sa.Column("failure", TEXT, nullable=True),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("scored", sa.Boolean(), nullable=False),
        sa.Column("sandbox", TEXT, nullable=True),
        sa.Column("unenforced", TEXT, nullable=False),
        sa.Column("limits", TEXT, nullable=True),
        sa.Column("timebox_s", sa.Double(), nullable=True),
        sa.Column("setup_digest", TEXT, nullable=True),
        sa.Column("setup_ms", sa.Double(), nullable=True),
        sa.Column("setup_cached", sa.Boolean(), nullable=True),
        sa.Column("workspace_ms", sa.Double(), nullable=True),
        sa.Column("command_ms", sa.Double(), nullable=True),
        sa.Column("checks_ms", sa.Double(), nullable=True),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("output_bytes", sa.BigInteger(), nullable=True),
        sa.Column("output_digest", TEXT, nullable=True),
        sa.Column("error_class", TEXT, nullable=True),
        sa.Column("checks", TEXT, nullable=True),
        sa.Column("trace_faults", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["cell_id"], ["cell.cell_id"], name=op.f("fk_attempt_cell_id")),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_attempt_run_id")),
        sa.ForeignKeyConstraint(["runner_id"], ["runner.runner_id"], name=op.f("fk_attempt_runner_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempt")),
    )
    for name in ("cell_id", "run_id", "session_id"):
        op.create_index(op.f(f"ix_attempt_{name}"), "attempt", [name])
