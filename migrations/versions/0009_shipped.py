"""Shipped: how far, and when, as far as the database itself knows.

Why: what waits for the centre of a fleet is not condensed or removed before, and `perftrack status` tells of it. The
centre alone knows the truth; this is what it said last.
Older rows: NULL: nothing was shipped, as far as is known, until the next ship.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("shipped_sample_id", sa.Integer()),
    ("shipped_at", sa.DateTime()),
    ("ship_failed_at", sa.DateTime()),
    ("ship_failure", sa.Text()),
)


def upgrade() -> None:
    """Apply."""
    for name, kind in COLUMNS:
        op.add_column("source", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Take back."""
    for name, _ in reversed(COLUMNS):
        op.execute(f"ALTER TABLE source DROP COLUMN {name}")
