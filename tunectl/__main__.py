"""`python -m tunectl` is `tunectl`."""

from tunectl.cli.app import main

if __name__ == "__main__":
    main()
