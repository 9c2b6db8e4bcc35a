"""The tasks, one small file each: a module in this folder that binds ``TASK`` is found by discovery."""
