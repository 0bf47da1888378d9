"""STEGO: its head, its training, its released checkpoints, and what its six numbers do."""
