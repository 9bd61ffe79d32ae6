"""Alembic's entry point: runs the migrations on the connection that `orchestration.migrations` passes."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="public")
with context.begin_transaction():
    context.run_migrations()
