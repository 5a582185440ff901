"""What both learned engines need of PyTorch: device, memory, checkpoint files."""
