"""Every role may ask which version the database is at: who starts before the migrations have run waits for them."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("grant select on public.alembic_version to hiring_loader, hiring_transformer, hiring_api")
