"""One session of the app over its WebSocket, without a browser."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

WAIT_S = 120.0


@dataclass
class Session:
    """A page as Streamlit tells it to a browser.

    Parameters
    ----------
    origin : str
        As a browser has it, such as ``https://ecg.clinic.example:8443``.
    port : int
        Where that is on this machine.
    cookies : str
        Header ``Cookie``; may be empty.
    trusted : ssl.SSLContext, optional
        For https.
    """

    origin: str
    port: int
    cookies: str = ""
    trusted: ssl.SSLContext | None = None
    headings: list[str] = field(default_factory=list)
    buttons: dict[str, str] = field(default_factory=dict)
    redirect: str = ""
    _opened: Any = None
    _socket: ClientConnection | None = None

    def __enter__(self) -> Session:
        scheme, _, host = self.origin.partition("://")
        self._opened = connect(
            f"{scheme.replace('http', 'ws')}://{host}/_stcore/stream",
            sock=socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S),
            ssl=self.trusted,
            origin=self.origin,
            # As Streamlit's own page does it: its token against forged requests comes second.
            subprotocols=[Subprotocol("streamlit"), *map(Subprotocol, self._tokens())],
            additional_headers={"Cookie": self.cookies} if self.cookies else {},
            max_size=None,
            open_timeout=WAIT_S,
        )
        self._socket = self._opened.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._opened is not None
        self._opened.__exit__(kind, error, traceback)

    def run(self, page: str = "", pressed: str | None = None) -> Session:
        """Open a page, or press a button of it, and take in what is drawn.

        Parameters
        ----------
        page : str
            Its name in the address.
        pressed : str, optional
            Label of a button of the run before.
        """
        message = BackMsg()
        message.rerun_script.page_name = page
        if pressed is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id = self.buttons[pressed]
            state.trigger_value = True
        self.headings, self.buttons, self.redirect = [], {}, ""
        assert self._socket is not None
        self._socket.send(message.SerializeToString())
        while True:
            told = ForwardMsg()
            told.ParseFromString(self._received())
            kind: Any = told.WhichOneof("type")
            if kind == "delta":
                self._take(told.delta)
            elif kind == "auth_redirect":
                self.redirect = told.auth_redirect.url
            # A run that begins anew says so otherwise, and another one follows.
            elif (
                kind == "script_finished"
                and told.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
            ):
                return self

    def _tokens(self) -> list[str]:
        held = dict(pair.split("=", 1) for pair in self.cookies.split("; ") if "=" in pair)
        return [held["_streamlit_xsrf"]] if "_streamlit_xsrf" in held else []

    def _received(self) -> bytes:
        assert self._socket is not None
        received = self._socket.recv(timeout=WAIT_S)
        assert isinstance(received, bytes)
        return received

    def _take(self, delta: Any) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        if element.WhichOneof("type") == "heading":
            self.headings.append(element.heading.body)
        elif element.WhichOneof("type") == "button":
            self.buttons[element.button.label] = element.button.id
