"""The first schema: every entity of the design."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "artifact",
        sa.Column("digest", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, autoincrement=False, nullable=False),
        sa.Column("path", TEXT, autoincrement=False, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("session_id", TEXT, autoincrement=False, nullable=True),
        sa.Column("experiment", TEXT, autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_artifact")),
    )
    op.create_index(op.f("ix_artifact_session_id"), "artifact", ["session_id"], unique=False)
    op.create_table(
        "experiment",
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("variants", TEXT, autoincrement=False, nullable=False),
        sa.Column("task_cards", TEXT, autoincrement=False, nullable=False),
        sa.Column("description", TEXT, autoincrement=False, nullable=False),
        sa.Column("baseline", TEXT, autoincrement=False, nullable=True),
        sa.Column("repeats", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_experiment")),
    )
    op.create_index(op.f("ix_experiment_name"), "experiment", ["name"], unique=False)
    op.create_table(
        "harness_profile",
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("surface", TEXT, autoincrement=False, nullable=False),
        sa.Column("env", TEXT, autoincrement=False, nullable=False),
        sa.Column("description", TEXT, autoincrement=False, nullable=False),
        sa.Column("files", TEXT, autoincrement=False, nullable=False),
        sa.Column("command", TEXT, autoincrement=False, nullable=False),
        sa.Column("version_command", TEXT, autoincrement=False, nullable=False),
        sa.Column("settings", TEXT, autoincrement=False, nullable=False),
        sa.Column("limits", TEXT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_harness_profile")),
    )
    op.create_index(op.f("ix_harness_profile_name"), "harness_profile", ["name"], unique=False)
    op.create_table(
        "provider",
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("routes", TEXT, autoincrement=False, nullable=False),
        sa.Column("models", TEXT, autoincrement=False, nullable=False),
        sa.Column("description", TEXT, autoincrement=False, nullable=False),
        sa.Column("base_url", TEXT, autoincrement=False, nullable=True),
        sa.Column("api_key_env", TEXT, autoincrement=False, nullable=True),
        sa.Column("managed", TEXT, autoincrement=False, nullable=True),
        sa.Column("options", TEXT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_provider")),
    )
    op.create_index(op.f("ix_provider_name"), "provider", ["name"], unique=False)
    op.create_table(
        "request",
        sa.Column("request_key", TEXT, autoincrement=False, nullable=False),
        sa.Column("session_id", TEXT, autoincrement=False, nullable=True),
        sa.Column("experiment", TEXT, autoincrement=False, nullable=True),
        sa.Column("variant", TEXT, autoincrement=False, nullable=True),
        sa.Column("task_card", TEXT, autoincrement=False, nullable=True),
        sa.Column("key_hash", TEXT, autoincrement=False, nullable=True),
        sa.Column("key_alias", TEXT, autoincrement=False, nullable=True),
        sa.Column("surface", TEXT, autoincrement=False, nullable=True),
        sa.Column("path", TEXT, autoincrement=False, nullable=False),
        sa.Column("streamed", sa.Boolean(), autoincrement=False, nullable=False),
        sa.Column("model_requested", TEXT, autoincrement=False, nullable=True),
        sa.Column("model_served", TEXT, autoincrement=False, nullable=True),
        sa.Column("provider", TEXT, autoincrement=False, nullable=True),
        sa.Column("litellm_call_id", TEXT, autoincrement=False, nullable=True),
        sa.Column("provider_request_id", TEXT, autoincrement=False, nullable=True),
        sa.Column("response_id", TEXT, autoincrement=False, nullable=True),
        sa.Column("started_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("latency_ms", sa.Double(), autoincrement=False, nullable=True),
        sa.Column("ttft_ms", sa.Double(), autoincrement=False, nullable=True),
        sa.Column("provider_latency_ms", sa.Double(), autoincrement=False, nullable=True),
        sa.Column("proxy_overhead_ms", sa.Double(), autoincrement=False, nullable=True),
        sa.Column("status", TEXT, autoincrement=False, nullable=False),
        sa.Column("http_status", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("error_code", TEXT, autoincrement=False, nullable=True),
        sa.Column("error_class", TEXT, autoincrement=False, nullable=True),
        sa.Column("finish_reason", TEXT, autoincrement=False, nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("cache_read_tokens", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("cache_write_tokens", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("reasoning_tokens", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("usage_source", TEXT, autoincrement=False, nullable=True),
        sa.Column("tool_calls", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("attempts", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("cost_usd", sa.Double(), autoincrement=False, nullable=True),
        sa.Column("price_table_version", TEXT, autoincrement=False, nullable=True),
        sa.Column("request_bytes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("response_bytes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tags", TEXT, autoincrement=False, nullable=False),
        sa.Column("gateway_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("records", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("late", sa.Boolean(), autoincrement=False, nullable=False),
        sa.Column("normalizer_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record_digest", TEXT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("request_key", name=op.f("pk_request")),
    )
    op.create_index(op.f("ix_request_session_id"), "request", ["session_id"], unique=False)
    op.create_index(op.f("ix_request_started_at_us"), "request", ["started_at_us"], unique=False)
    op.create_table(
        "spool_cursor",
        sa.Column("gateway_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("segment", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("closed", sa.Boolean(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", name=op.f("pk_spool_cursor")),
    )
    op.create_table(
        "task_card",
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("goal", TEXT, autoincrement=False, nullable=False),
        sa.Column("prompt", TEXT, autoincrement=False, nullable=False),
        sa.Column("repository", TEXT, autoincrement=False, nullable=True),
        sa.Column("commit", TEXT, autoincrement=False, nullable=True),
        sa.Column("stop_condition", TEXT, autoincrement=False, nullable=False),
        sa.Column("timebox_s", sa.Double(), autoincrement=False, nullable=True),
        sa.Column("files", TEXT, autoincrement=False, nullable=False),
        sa.Column("checks", TEXT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_task_card")),
    )
    op.create_index(op.f("ix_task_card_name"), "task_card", ["name"], unique=False)
    op.create_table(
        "unreadable_record",
        sa.Column("gateway_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("segment", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", TEXT, autoincrement=False, nullable=False),
        sa.Column("reason", TEXT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("gateway_id", "segment", "offset_bytes", name=op.f("pk_unreadable_record")),
    )
    op.create_table(
        "variant",
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("provider", TEXT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, autoincrement=False, nullable=False),
        sa.Column("harness_profile", TEXT, autoincrement=False, nullable=False),
        sa.Column("description", TEXT, autoincrement=False, nullable=False),
        sa.Column("settings", TEXT, autoincrement=False, nullable=False),
        sa.Column("env", TEXT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_variant")),
    )
    op.create_index(op.f("ix_variant_name"), "variant", ["name"], unique=False)
    op.create_table(
        "session",
        sa.Column("session_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("phase", TEXT, autoincrement=False, nullable=False),
        sa.Column("variant", TEXT, autoincrement=False, nullable=False),
        sa.Column("task_card", TEXT, autoincrement=False, nullable=False),
        sa.Column("harness_profile", TEXT, autoincrement=False, nullable=False),
        sa.Column("provider", TEXT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, autoincrement=False, nullable=False),
        sa.Column("variant_fingerprint", TEXT, autoincrement=False, nullable=False),
        sa.Column("task_card_digest", TEXT, autoincrement=False, nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("experiment", TEXT, autoincrement=False, nullable=True),
        sa.Column("label", TEXT, autoincrement=False, nullable=True),
        sa.Column("launched_at_us", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("ended_at_us", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("outcome", TEXT, autoincrement=False, nullable=True),
        sa.Column("notes", TEXT, autoincrement=False, nullable=True),
        sa.Column("command_exit_code", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("checks_passed", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("checks_total", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("repository_root", TEXT, autoincrement=False, nullable=True),
        sa.Column("repository_branch", TEXT, autoincrement=False, nullable=True),
        sa.Column("repository_commit", TEXT, autoincrement=False, nullable=True),
        sa.Column("repository_dirty", sa.Boolean(), autoincrement=False, nullable=True),
        sa.Column("harness_binary", TEXT, autoincrement=False, nullable=True),
        sa.Column("harness_version", TEXT, autoincrement=False, nullable=True),
        sa.Column("agentdyno_version", TEXT, autoincrement=False, nullable=True),
        sa.Column("litellm_version", TEXT, autoincrement=False, nullable=True),
        sa.Column("price_table_version", TEXT, autoincrement=False, nullable=True),
        sa.Column("os", TEXT, autoincrement=False, nullable=True),
        sa.Column("cpu", TEXT, autoincrement=False, nullable=True),
        sa.Column("cpu_cores", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("gpu", TEXT, autoincrement=False, nullable=True),
        sa.Column("gpu_driver", TEXT, autoincrement=False, nullable=True),
        sa.ForeignKeyConstraint(["task_card_digest"], ["task_card.digest"], name=op.f("fk_session_task_card_digest")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session")),
    )
    op.create_index(op.f("ix_session_experiment"), "session", ["experiment"], unique=False)
    op.create_index(op.f("ix_session_variant"), "session", ["variant"], unique=False)
    op.create_table(
        "credential",
        sa.Column("key_hash", TEXT, autoincrement=False, nullable=False),
        sa.Column("session_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("alias", TEXT, autoincrement=False, nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revoked_at_us", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["session.session_id"], name=op.f("fk_credential_session_id")),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_credential")),
    )
    op.create_index(op.f("ix_credential_session_id"), "credential", ["session_id"], unique=False)
    op.create_table(
        "metric_rollup",
        sa.Column("session_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, autoincrement=False, nullable=False),
        sa.Column("status", TEXT, autoincrement=False, nullable=False),
        sa.Column("metric", TEXT, autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("total", sa.Double(), autoincrement=False, nullable=False),
        sa.Column("values", sa.LargeBinary(), autoincrement=False, nullable=False),
        sa.Column("digest", TEXT, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["session.session_id"], name=op.f("fk_metric_rollup_session_id")),
        sa.PrimaryKeyConstraint("session_id", "model", "status", "metric", name=op.f("pk_metric_rollup")),
    )
    op.create_table(
        "step",
        sa.Column("step_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("session_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, autoincrement=False, nullable=False),
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("duration_ms", sa.Double(), autoincrement=False, nullable=True),
        sa.Column("ok", sa.Boolean(), autoincrement=False, nullable=True),
        sa.Column("request_key", TEXT, autoincrement=False, nullable=True),
        sa.ForeignKeyConstraint(["request_key"], ["request.request_key"], name=op.f("fk_step_request_key")),
        sa.ForeignKeyConstraint(["session_id"], ["session.session_id"], name=op.f("fk_step_session_id")),
        sa.PrimaryKeyConstraint("step_id", name=op.f("pk_step")),
    )
    op.create_index(op.f("ix_step_session_id"), "step", ["session_id"], unique=False)
