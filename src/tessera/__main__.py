"""`python -m tessera` is the command `tessera`."""

from tessera.platform.cli.command import main

main()
