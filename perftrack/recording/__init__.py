"""First stage: read the machine (psutil, /proc) and hand one sample to storage."""
