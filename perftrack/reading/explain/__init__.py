"""What was unusual and who did it; what got dearer."""
