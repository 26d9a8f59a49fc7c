"""The original PerformanceTrack's pickle and CSV files: read, checked value by value, and imported."""
