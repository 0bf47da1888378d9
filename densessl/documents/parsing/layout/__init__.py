"""From a detector's regions and the words of a page to blocks in reading order (`structure`), and what only the whole
document tells of them (`whole`)."""
