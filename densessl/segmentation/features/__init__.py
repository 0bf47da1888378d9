"""Features of pictures: from a frozen backbone, through tiles where they are large, kept and cached."""
