"""What every plugin must hold, said once: ``divsal-bench check`` and the tests run the same functions."""
