"""Data: sources of images, transforms and the training pipeline."""
