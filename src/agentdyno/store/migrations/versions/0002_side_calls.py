"""What a request is for, and what a harness profile says of side calls, guards, installation and verification."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

_ADDED = {
    "harness_profile": (
        sa.Column("network_guards", TEXT, nullable=False, server_default="{}"),
        sa.Column("side_calls", TEXT, nullable=False, server_default="[]"),
        sa.Column("id_headers", TEXT, nullable=False, server_default="[]"),
        sa.Column("install", TEXT, nullable=False, server_default=""),
        sa.Column("scripted_model", TEXT, nullable=False, server_default="write-file"),
        sa.Column("deferred", TEXT, nullable=True),
    ),
    "variant": (sa.Column("small_model", TEXT, nullable=True),),
    "session": (sa.Column("small_model", TEXT, nullable=True),),
    "request": (
        sa.Column("purpose", TEXT, nullable=False, server_default="work"),
        sa.Column("harness_ids", TEXT, nullable=False, server_default="{}"),
    ),
}


def upgrade() -> None:
    """Add the columns. Rows that were there before are of work, and their sessions name no profile's digest."""
    for table, columns in _ADDED.items():
        for column in columns:
            op.add_column(table, column)
    # In the same statement as the column: SQLite adds no constraint later.
    op.add_column(
        "session",
        sa.Column("harness_profile_digest", TEXT, sa.ForeignKey("harness_profile.digest"), nullable=True),
        inline_references=True,
    )
