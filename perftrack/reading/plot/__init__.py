"""Plots of a range: what is read (series), what is shown (panels), and how it is drawn (page, picture)."""
