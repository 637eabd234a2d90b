"""Keras layers whose kernels are shared between tasks."""
