"""Set up before any test module is imported."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("paramstore._contract", "paramstore._contract_past")
