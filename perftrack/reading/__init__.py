"""Third stage: questions asked of the database, and the files made of the answers."""
