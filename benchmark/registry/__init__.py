"""What can be named: plugins, methods with their fields, protocols."""
