"""Mission Control over HTTP: a client library and a command line, on nothing but Python's standard library."""

from .client import Lease, MissionControl
from .wire import Refused

__all__ = ["Lease", "MissionControl", "Refused"]
