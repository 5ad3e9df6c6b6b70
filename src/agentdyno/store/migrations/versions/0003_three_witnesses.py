"""What the provider's own wire told of a request, what the harness sent, and who issued a key."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

_ADDED = {
    "provider": (
        sa.Column("prices", TEXT, nullable=False, server_default="{}"),
        sa.Column("metering", TEXT, nullable=False, server_default="transport"),
        sa.Column("deployment_key_env", TEXT, nullable=True),
    ),
    "credential": (sa.Column("issuer", TEXT, nullable=False, server_default="gateway"),),
    "request": (
        sa.Column("provider_ttft_ms", sa.Double(), nullable=True),
        sa.Column("system_bytes", sa.BigInteger(), nullable=True),
        sa.Column("tools", sa.BigInteger(), nullable=True),
        sa.Column("tools_bytes", sa.BigInteger(), nullable=True),
        sa.Column("history_bytes", sa.BigInteger(), nullable=True),
        sa.Column("tool_results_bytes", sa.BigInteger(), nullable=True),
        sa.Column("media_bytes", sa.BigInteger(), nullable=True),
        sa.Column("messages", sa.BigInteger(), nullable=True),
        sa.Column("prefix", TEXT, nullable=True),
        sa.Column("discrepancies", TEXT, nullable=False, server_default="[]"),
    ),
}


_UNKNOWN_OF_SOME: dict[str, sa.types.TypeEngine[Any]] = {
    "path": sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql"),
    "request_bytes": sa.BigInteger(),
    "response_bytes": sa.BigInteger(),
}
"""What only a gateway sees of a request, and no log."""


def upgrade() -> None:
    """Add the columns. Of requests that were there before, nothing more is known than was."""
    for table, columns in _ADDED.items():
        for column in columns:
            op.add_column(table, column)
    with op.batch_alter_table("request") as request:
        for name, kind in _UNKNOWN_OF_SOME.items():
            request.alter_column(name, existing_type=kind, nullable=True)
