"""What a plugin is handed and what it hands back: tasks, methods and data adapters.

Plugins import this package only. Nothing here imports torch at run time, so that listing plugins is instant.
"""
