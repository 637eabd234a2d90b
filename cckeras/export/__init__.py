"""Export to LiteRT: one `.tflite` file for all tasks of a run."""
