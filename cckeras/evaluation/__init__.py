"""Accuracy, task-free rules, and the report."""
