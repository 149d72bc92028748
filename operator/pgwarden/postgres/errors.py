"""The driver's exceptions, for those who may not import the driver."""

from psycopg import Error, OperationalError
from psycopg.errors import InsufficientPrivilege

__all__ = ["Error", "InsufficientPrivilege", "OperationalError"]
