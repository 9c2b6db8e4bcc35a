"""Worker processes: how they live, and how their parent hands them jobs and notices their death.

Knows nothing of what a job is.
"""
