"""Names that senders had before, the queues of nodes, and sign-ins of admins that failed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "former_names",
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("domain_id", number, nullable=True),
        sa.Column("user_id", number, nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_former_names_domain_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_former_names_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("domain", "username", name=op.f("pk_former_names")),
    )
    with op.batch_alter_table("former_names", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_former_names_domain_id"), ["domain_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_former_names_user_id"), ["user_id"], unique=False)

    op.create_table(
        "discarded",
        sa.Column("domain", sa.String(length=253), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("domain", "username", name=op.f("pk_discarded")),
    )
    op.create_table(
        "node_queues",
        sa.Column("node", sa.String(length=253), nullable=False),
        sa.Column("process", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("page_url", sa.String(length=255), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("node", "process", name=op.f("pk_node_queues")),
    )
    op.create_table(
        "sign_ins",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "client", "name", name=op.f("pk_sign_ins")),
    )
    with op.batch_alter_table("sign_ins", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_ins_at"), ["at"], unique=False)
