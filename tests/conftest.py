"""Set up before any test module is imported."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("paramstore.testing")
