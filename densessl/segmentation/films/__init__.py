"""Films: their frames as pictures in a row, and labels that stay while they move."""
