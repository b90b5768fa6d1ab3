"""What is trained: pure PyTorch, tensors and state dicts in and out."""
