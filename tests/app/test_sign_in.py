"""Who may use the app: `ui.sign_in`, without a provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from echoing_core.errors import ConfigError
from ui import sign_in


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"email": "A@Clinic.example"}, True),
        ({"email": "guest@university.example", "email_verified": True}, True),
        ({"email": "other@university.example"}, False),
        ({"email": "a@clinic.example", "email_verified": False}, False),
        ({"email": "a@clinic.example@elsewhere.example"}, False),
        ({"email": "a@sub.clinic.example"}, False),
        ({"email": "clinic.example"}, False),
        ({"email": ["a@clinic.example"]}, False),
        ({}, False),
    ],
)
def test_members_are_told_by_a_verified_address(claims: dict[str, Any], expected: bool) -> None:
    allowed = ["*@clinic.example", " Guest@University.example"]
    assert sign_in.is_member(claims, allowed) is expected
    assert sign_in.is_member(claims, [])


@pytest.mark.parametrize("text", [b"[auth\n", b"\xff", b"a = 1\na = 2\n"])
def test_secrets_that_cannot_be_read_do_not_open_the_app(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "secrets.toml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"secrets.toml cannot be read.*Mend"):
        sign_in.check_secrets([str(tmp_path / "none.toml"), str(path)])
    path.write_text("[auth]\n")
    sign_in.check_secrets([str(path)])


@pytest.mark.parametrize("section", [{"allowed": []}, {"allowed": "a@b"}, {"allowed": [1]}, 1, {}])
def test_a_list_of_members_that_is_none_opens_nothing(
    section: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(st, "secrets", {"members": section})
    with pytest.raises(ConfigError, match="needs a list of addresses"):
        sign_in.members()
