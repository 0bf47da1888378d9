"""`python -m densessl`."""

from densessl.cli import main

if __name__ == "__main__":
    main()
