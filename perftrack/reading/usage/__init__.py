"""What processes, their children and units used in a range, and who used most."""
