"""Second stage: the tables, the file they live in, and how a sample gets into them."""
