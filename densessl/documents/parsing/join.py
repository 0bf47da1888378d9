def joined(pages):
    return pages
