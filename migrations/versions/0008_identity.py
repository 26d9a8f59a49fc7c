"""Identity: a random name of the database.

Why: what it ships and exports is known by it, whatever its path and its machine are called.
Older rows: the database gets one now.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    source = op.create_table(
        "source",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("uuid", name=op.f("uq_source_uuid")),
    )
    op.bulk_insert(source, [{"uuid": str(uuid.uuid4()), "made_at": datetime.now(UTC).replace(tzinfo=None)}])


def downgrade() -> None:
    """Take back."""
    op.drop_table("source")
