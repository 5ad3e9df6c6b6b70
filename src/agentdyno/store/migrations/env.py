"""Alembic runs this to apply migrations on the connection that `store.migrate` hands over."""

from alembic import context

from agentdyno.store.migrate import VERSION_TABLE
from agentdyno.store.tables import build_metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=build_metadata(), version_table=VERSION_TABLE
)
context.run_migrations()
