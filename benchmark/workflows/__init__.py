"""What Python users call: one function for each thing that a command does, without printing."""
