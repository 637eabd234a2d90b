"""Recipes: one file a benchmark, each with `get_config(method)`."""
