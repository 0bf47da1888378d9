"""Layout and tables of document pages: data sets and how well their objects were found."""
