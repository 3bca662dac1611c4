"""`python -m rulesel`."""

from rulesel.cli import main

main()
