"""What was recorded, as files: CSV, and the formats of other tools."""
