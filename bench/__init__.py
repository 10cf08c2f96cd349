"""The harness: reads a study, launches its trials, measures them and keeps the results. Imports no framework."""

__version__ = "0.1.0"
