"""The programs that are measured, each in a process of its own, outside any virtual environment."""
