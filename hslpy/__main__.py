"""`python -m hslpy`: the command line. In: arguments. Out: the exit status."""

import sys

from hslpy.cli import main

sys.exit(main())
