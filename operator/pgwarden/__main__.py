"""`python -m pgwarden` is the same as the command `pgwarden`."""

from pgwarden.cli.main import main

if __name__ == "__main__":
    main()
