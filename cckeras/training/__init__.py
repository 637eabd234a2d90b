"""Training: one task after another, resumable, checked before it is kept."""
