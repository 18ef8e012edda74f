"""`python -m covid19net.cli`, as the installed command."""

from covid19net.cli import main

if __name__ == "__main__":
    main()
