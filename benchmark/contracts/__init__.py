"""What a plugin is handed and what it hands back: tasks, methods, data adapters, and arithmetic of their maps.

Knows nothing but errors, and is all that plugins import. Torch is not imported at run time: listing is instant.
"""
