"""The fixtures of these tests: real servers."""

from tests.serving import database_server, make_product, new_database, new_product, product

__all__ = ["database_server", "make_product", "new_database", "new_product", "product"]
