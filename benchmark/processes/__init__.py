"""Worker processes: how they live, and how their parent hands them jobs and notices their death."""
