"""Faces on disk to batches in memory. Knows nothing of models, Ray or MLflow."""
