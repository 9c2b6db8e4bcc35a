"""Data adapters: one small file per way data is delivered, each binding ``ADAPTER``."""
