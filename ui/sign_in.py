"""Who may use the app, where whoever serves it has it ask (``docs/how-to/serve.md``).

Without an ``[auth]`` section among Streamlit's secrets nobody is asked. With one, nothing but a
button is drawn for whoever has not signed in, or is not among those who may.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from echoing_core.errors import ConfigError

TITLE = "Sign in to EchoingECG"


def admitted() -> bool:
    """Whether the page may be drawn; if not, what to do is drawn instead.

    Returns
    -------
    bool
    """
    # Streamlit has this attribute where secrets name a provider, and only there.
    signed_in = getattr(st.user, "is_logged_in", None)
    if signed_in is None:
        return True
    may = signed_in and is_member(st.user.to_dict(), members())
    if not may:
        st.title(TITLE)
        if signed_in:
            st.error("This account may not use this app. Ask whoever runs it, or take another.")
            st.button("Sign out", on_click=st.logout, type="primary")
        else:
            st.button("Sign in", on_click=st.login, type="primary")
    return bool(may)


def members() -> list[str]:
    """Addresses that may sign in: ``allowed`` in the section ``[members]`` of the secrets.

    Returns
    -------
    list of str
        Empty where there is no such section: then everybody whom the provider knows may.

    Raises
    ------
    ConfigError
        The section lets nobody in, or is none.
    """
    if "members" not in st.secrets:
        return []
    section = st.secrets["members"]
    allowed = section.get("allowed") if isinstance(section, Mapping) else None
    if not isinstance(allowed, list) or not allowed or not all(isinstance(a, str) for a in allowed):
        raise ConfigError(
            "Section [members] of the secrets needs a list of addresses, such as "
            'allowed = ["*@clinic.example"].'
        )
    return list(allowed)


def is_member(claims: Mapping[str, Any], allowed: Sequence[str]) -> bool:
    """Whether somebody is among those who may use the app.

    Parameters
    ----------
    claims : mapping of str to object
        What the provider says of who signed in.
    allowed : sequence of str
        Addresses; ``*@clinic.example`` is everybody there. Empty is everybody.

    Returns
    -------
    bool
    """
    if not allowed:
        return True
    address = claims.get("email")
    # A provider that lets people type any address says so here.
    if not isinstance(address, str) or claims.get("email_verified") is False:
        return False
    address = address.strip().lower()
    domain = "*@" + address.rpartition("@")[2]
    return address.count("@") == 1 and bool(
        {address, domain} & {a.strip().lower() for a in allowed}
    )


def check_secrets(files: Sequence[str]) -> None:
    """That secrets which are there can be read.

    Streamlit takes a file that it cannot read for none, and a slip of the pen would open the app to
    everybody.

    Parameters
    ----------
    files : sequence of str
        Where Streamlit looks (``secrets.files``).

    Raises
    ------
    ConfigError
        One is there and is no TOML, or cannot be read.
    """
    for path in map(Path, files):
        if not path.is_file():
            continue
        try:
            tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"The secrets in {path.name} cannot be read, so nobody could be asked to sign in: "
                f"{type(error).__name__}. Mend the file, or take it away."
            ) from error


def account() -> None:
    """A way to sign out, for whoever has signed in."""
    if getattr(st.user, "is_logged_in", False):
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.button("Sign out", on_click=st.logout, type="tertiary", key="sign_out")


def guarded() -> bool:
    """`admitted`, with a sentence where the secrets are wrong.

    Returns
    -------
    bool
    """
    # The server checks its secrets before it has what pages need.
    from ui import frame

    with frame.guarded():
        return admitted()
    return False
