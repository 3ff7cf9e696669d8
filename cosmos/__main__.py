"""`python -m cosmos`, which is how torchrun starts a rank."""

from cosmos.cli import main

if __name__ == "__main__":
    main()
