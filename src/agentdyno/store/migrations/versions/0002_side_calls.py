"""What a request is for, and what a harness profile says of side calls, guards, installation and verification."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ADDED = {
    "harness_profile": (
        sa.Column("network_guards", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("side_calls", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("install", sa.Text(), nullable=False, server_default=""),
        sa.Column("scripted_model", sa.Text(), nullable=False, server_default="write-file"),
        sa.Column("deferred", sa.Text(), nullable=True),
    ),
    "variant": (sa.Column("small_model", sa.Text(), nullable=True),),
    "session": (sa.Column("small_model", sa.Text(), nullable=True),),
    "request": (sa.Column("purpose", sa.Text(), nullable=False, server_default="work"),),
}


def upgrade() -> None:
    """Add the columns. Rows that were there before are of work, and their sessions name no profile's digest."""
    for table, columns in _ADDED.items():
        for column in columns:
            op.add_column(table, column)
    # In the same statement as the column: SQLite adds no constraint later.
    op.add_column(
        "session",
        sa.Column("harness_profile_digest", sa.Text(), sa.ForeignKey("harness_profile.digest"), nullable=True),
        inline_references=True,
    )
