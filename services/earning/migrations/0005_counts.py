"""What caps and budgets counted, and remainders that were not given yet."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = (
    ("cap_counts", ("program_id", "member_key", "cap_id", "period"), "points"),
    ("budgets", ("program_id", "rule_id"), "points"),
    ("remainders", ("program_id", "member_key", "currency_id"), ""),
)


def upgrade() -> None:
    for name, keys, number in _TABLES:
        last: list[SchemaItem] = [sa.Column("remainder", sa.Text(), nullable=False)]
        if number:
            check = sa.CheckConstraint(f"{number} >= 0", name=op.f(f"ck_{name}_{number}"))
            last = [sa.Column(number, sa.BigInteger(), nullable=False), check]
        op.create_table(
            name,
            *(sa.Column(key, sa.Text(), nullable=False) for key in keys),
            *last,
            sa.PrimaryKeyConstraint(*keys, name=op.f(f"pk_{name}")),
            postgresql_with={"fillfactor": 70},
        )


def downgrade() -> None:
    for name, _, _ in reversed(_TABLES):
        op.drop_table(name)
