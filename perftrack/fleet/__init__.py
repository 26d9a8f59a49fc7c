"""Many machines in PostgreSQL: the centre's schema and functions, and shipping to it.

`ship` and what it imports need psycopg and sqlite3 alone; SQLAlchemy and Alembic are the owner's side.
"""
