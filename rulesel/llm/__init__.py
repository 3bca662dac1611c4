"""Requests and completions; nothing here knows what a rule is."""
