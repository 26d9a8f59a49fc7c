"""Keeping the database healthy, when a person or a monitor asks: check, back up, restore, vacuum. Not for ticks."""
