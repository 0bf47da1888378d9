"""From the words and drawn lines of a table to its cells (`table`); tables over page breaks put together (`join`)."""
