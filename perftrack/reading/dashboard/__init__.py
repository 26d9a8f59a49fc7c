"""Dashboards of other programs: what they are told of the database, so that they show it."""
