"""The methods of both sides whose types follow from the action and the version.

The types themselves are in ``methods.pyi``, which is generated: what is written here is what runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from .request import Request, RequestMetadata
from .validation.catalogue import Version
from .vendor import VendorAction

__all__ = ["CentralSystemHandler", "CentralSystemMethods", "ChargePointHandler", "ChargePointMethods"]

# What is left at run time of types that name every message.
CentralSystemHandler = Callable[[Request, RequestMetadata], "Mapping[str, object] | None"]
"""The single handler of a central system, for one version of OCPP or several."""
ChargePointHandler = Callable[[Request, RequestMetadata], "Mapping[str, object] | None"]
"""The single handler of a charge point, for one version of OCPP or several."""


class CentralSystemMethods(ABC):
    """The methods of a central system whose types follow from the action and the version."""

    def send_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        version: Version | None = None,
    ) -> Any:
        """Return the charge point's answer to a request; blocks until it is there.

        To be called from any thread, handlers included. The requests of one connection go out in order, one at a
        time (J16 §4.1.1, 4/201 §4.1.1). An action in a variable is passed as `Any`.

        Args:
            charge_point_id: who gets the request.
            action: the OCPP action, such as ``"Reset"``, or a `VendorAction`.
            payload: the fields of the request; may be left out where none is required.
            timeout: seconds, the wait for its turn included; None stands for the option ``request_timeout``.
            version: the version of OCPP that the payload is written for. None: that of the connection, whichever it
                is; to a type checker, the oldest that has the action.

        Raises:
            ValidationError: the payload breaks the schema of the request, or the action is not the central system's
                to send; nothing was sent.
            NotConnectedError: there is no connection; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
            RequestTimeoutError: no answer came in time.
            ConnectionLostError: the connection ended before the answer came.
            CallErrorReceived: the charge point answered with a CALLERROR.
            InvalidResponseError: the answer breaks its schema.
        """
        return self._send_request(charge_point_id, action, {} if payload is None else payload, timeout, version)

    def submit_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        version: Version | None = None,
    ) -> Future[Any]:
        """Return the future of the charge point's answer to a request, at once.

        Takes what `send_request` takes; the timeout runs from now. The future's ``cancel()`` works until the request
        is written.

        Raises:
            ValidationError: as `send_request` does; its other errors come out of the future.
        """
        return self._submit_request(charge_point_id, action, {} if payload is None else payload, timeout, version)

    def send(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        version: Version | None = None,
    ) -> None:
        """Send what the charge point does not answer: a SEND of OCPP 2.1 (4/21 §4.2.4).

        Of the specification's own actions none is for the central system to send in this way, so it takes a
        `VendorAction` without a response. Nothing tells whether it arrived.

        Args:
            charge_point_id: who gets it.
            action: a `VendorAction` whose ``response`` is None.
            payload: its fields; may be left out where none is required.
            version: the version of OCPP that the payload is written for; None: that of the connection.

        Raises:
            ValidationError: the payload breaks its schema, or the action is not the central system's to send;
                nothing was sent.
            NotConnectedError: there is no connection; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
        """
        self._send(charge_point_id, action, {} if payload is None else payload, version)

    def on(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that makes a function the handler of an action; the function stays as it is.

        The handler gets ``(payload, metadata)`` and returns the answer, a dict; None stands for ``{}`` where the
        answer has no required field. It runs in the handlers' thread pool, and may block and call `send_request`.
        It may raise `CallError` to answer with a CALLERROR; any other exception becomes InternalError, without its
        text. What the handler of a SEND returns is dropped. An action in a variable is passed as `Any`.

        Args:
            action: the OCPP action, such as ``"BootNotification"``, or a `VendorAction`.
            version: the handler is for the connections of that version of OCPP. None: for every version that no other
                handler of the action is for; to a type checker, the oldest that has the action.

        Raises:
            ValueError: the charge point does not send that action, or it has a handler already.
        """
        return self._on(action, version)

    def after(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that makes a function run after each answer to an action; the function stays as it is.

        It gets the ``(payload, metadata)`` of the request once the CALLRESULT is on the wire. It runs in the handlers'
        thread pool, and may block and call `send_request`; what it returns is dropped. An action in a variable is
        passed as `Any`. A SEND has no answer, so nothing comes after it.

        Args:
            action: the OCPP action, or a `VendorAction`.
            version: as for `on`.

        Raises:
            ValueError: the charge point does not send that action, or it is a SEND.
        """
        return self._after(action, version)

    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, *, version: Version | None = None
    ) -> Callable[[Any], Any]:
        """Return a decorator that makes a function the handler of one vendor's DataTransfer; it stays as it is.

        The handler gets and returns what that of `on` for ``"DataTransfer"`` does, which is left with what no
        `on_data_transfer` is for.

        Args:
            vendor_id: the ``vendorId`` of the request.
            message_id: its ``messageId``; None: whichever no other handler of this vendor is for.
            version: as for `on`.

        Raises:
            ValueError: there is such a handler already.
        """
        return self._on_data_transfer(vendor_id, message_id, version)

    @abstractmethod
    def _send_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        timeout: float | None,
        version: Version | None,
    ) -> Any:
        """Do the work of `send_request`."""

    @abstractmethod
    def _submit_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        timeout: float | None,
        version: Version | None,
    ) -> Future[Any]:
        """Do the work of `submit_request`."""

    @abstractmethod
    def _send(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        version: Version | None,
    ) -> None:
        """Do the work of `send`."""

    @abstractmethod
    def _on(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Do the work of `on`."""

    @abstractmethod
    def _after(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Do the work of `after`."""

    @abstractmethod
    def _on_data_transfer(
        self, vendor_id: str, message_id: str | None, version: Version | None
    ) -> Callable[[Any], Any]:
        """Do the work of `on_data_transfer`."""


class ChargePointMethods(ABC):
    """The methods of a charge point whose types follow from the action and the version."""

    def send_request(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        version: Version | None = None,
    ) -> Any:
        """Return the central system's answer to a request; blocks until it is there.

        To be called from any thread, handlers included. The requests of one connection go out in order, one at a
        time (J16 §4.1.1, 4/201 §4.1.1). An action in a variable is passed as `Any`.

        Args:
            action: the OCPP action, such as ``"BootNotification"``, or a `VendorAction`.
            payload: the fields of the request; may be left out where none is required.
            timeout: seconds, the wait for its turn included; None stands for the option ``request_timeout``.
            version: the version of OCPP that the payload is written for. None: that of the connection, whichever it
                is; to a type checker, the oldest that has the action.

        Raises:
            ValidationError: the payload breaks the schema of the request, or the action is not the charge point's
                to send; nothing was sent.
            NotConnectedError: there is no connection; nothing was sent.
            NotRegisteredError: the BootNotification was not accepted yet; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
            RequestTimeoutError: no answer came in time.
            ConnectionLostError: the connection ended before the answer came.
            CallErrorReceived: the central system answered with a CALLERROR.
            InvalidResponseError: the answer breaks its schema.
        """
        return self._send_request(action, {} if payload is None else payload, timeout, version)

    def submit_request(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        version: Version | None = None,
    ) -> Future[Any]:
        """Return the future of the central system's answer to a request, at once.

        Takes what `send_request` takes; the timeout runs from now. The future's ``cancel()`` works until the request
        is written.

        Raises:
            ValidationError: as `send_request` does; its other errors come out of the future.
        """
        return self._submit_request(action, {} if payload is None else payload, timeout, version)

    def send(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        version: Version | None = None,
    ) -> None:
        """Send what the central system does not answer: a SEND of OCPP 2.1 (4/21 §4.2.4).

        Nothing tells whether it arrived.

        Args:
            action: ``"NotifyPeriodicEventStream"``, or a `VendorAction` whose ``response`` is None.
            payload: its fields; may be left out where none is required.
            version: the version of OCPP that the payload is written for; None: that of the connection.

        Raises:
            ValidationError: the payload breaks its schema, or the action is not the charge point's to send; nothing
                was sent.
            NotConnectedError: there is no connection; nothing was sent.
            NotRegisteredError: the BootNotification was not accepted yet; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
        """
        self._send(action, {} if payload is None else payload, version)

    def on(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that makes a function the handler of an action; the function stays as it is.

        The handler gets ``(payload, metadata)`` and returns the answer, a dict; None stands for ``{}`` where the
        answer has no required field. It runs in the handlers' thread pool, and may block and call `send_request`.
        It may raise `CallError` to answer with a CALLERROR; any other exception becomes InternalError, without its
        text. What the handler of a SEND returns is dropped. An action in a variable is passed as `Any`.

        Args:
            action: the OCPP action, such as ``"Reset"``, or a `VendorAction`.
            version: the handler is for the connections of that version of OCPP. None: for every version that no other
                handler of the action is for; to a type checker, the oldest that has the action.

        Raises:
            ValueError: the central system does not send that action, or it has a handler already.
        """
        return self._on(action, version)

    def after(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that makes a function run after each answer to an action; the function stays as it is.

        It gets the ``(payload, metadata)`` of the request once the CALLRESULT is on the wire. It runs in the handlers'
        thread pool, and may block and call `send_request`; what it returns is dropped. An action in a variable is
        passed as `Any`. A SEND has no answer, so nothing comes after it.

        Args:
            action: the OCPP action, or a `VendorAction`.
            version: as for `on`.

        Raises:
            ValueError: the central system does not send that action, or it is a SEND.
        """
        return self._after(action, version)

    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, *, version: Version | None = None
    ) -> Callable[[Any], Any]:
        """Return a decorator that makes a function the handler of one vendor's DataTransfer; it stays as it is.

        The handler gets and returns what that of `on` for ``"DataTransfer"`` does, which is left with what no
        `on_data_transfer` is for.

        Args:
            vendor_id: the ``vendorId`` of the request.
            message_id: its ``messageId``; None: whichever no other handler of this vendor is for.
            version: as for `on`.

        Raises:
            ValueError: there is such a handler already.
        """
        return self._on_data_transfer(vendor_id, message_id, version)

    @abstractmethod
    def _send_request(
        self, action: str | VendorAction, payload: Mapping[str, Any], timeout: float | None, version: Version | None
    ) -> Any:
        """Do the work of `send_request`."""

    @abstractmethod
    def _submit_request(
        self, action: str | VendorAction, payload: Mapping[str, Any], timeout: float | None, version: Version | None
    ) -> Future[Any]:
        """Do the work of `submit_request`."""

    @abstractmethod
    def _send(self, action: str | VendorAction, payload: Mapping[str, Any], version: Version | None) -> None:
        """Do the work of `send`."""

    @abstractmethod
    def _on(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Do the work of `on`."""

    @abstractmethod
    def _after(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Do the work of `after`."""

    @abstractmethod
    def _on_data_transfer(
        self, vendor_id: str, message_id: str | None, version: Version | None
    ) -> Callable[[Any], Any]:
        """Do the work of `on_data_transfer`."""
