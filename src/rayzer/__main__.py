"""`python -m rayzer` is the command `rayzer`."""

from rayzer.cli import main

main()
