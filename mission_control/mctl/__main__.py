"""`python -m mctl`, where it is installed. The downloaded file has a beginning of its own."""

import sys

from .cli import main

sys.exit(main())
