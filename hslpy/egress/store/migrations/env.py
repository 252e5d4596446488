"""Run by Alembic with the connection that `database.py` has opened."""

from alembic import context

from hslpy.egress.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
