"""The table: every documented command → how it is tested. A command without an entry fails tests/docs/test_commands.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.docs.entries import Entry
from tests.docs.table_commands import COMMANDS
from tests.docs.table_scripts import SCRIPTS

TABLE: Mapping[str, Entry] = MappingProxyType({**SCRIPTS, **COMMANDS})
