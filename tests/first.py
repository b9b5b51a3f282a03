"""Loaded by `make test` before anything else: jsonschema, which whatever reads notebooks loads,
then builds no grammars of addresses, which takes two seconds in every process."""

import sys

sys.modules.setdefault("rfc3987_syntax", None)
