"""What can be named: plugins, methods with their fields, protocols.

Knows the contracts, and loads the plugins that it finds.
"""
