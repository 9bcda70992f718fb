"""The methods of both ends with types that depend on the action and the version.

The types are in ``methods.pyi``, which is generated; this file has the code.
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

# At run time; methods.pyi has the types with every message.
CentralSystemHandler = Callable[[Request, RequestMetadata], "Mapping[str, object] | None"]
"""The single handler of a central system, for one version of OCPP or several."""
ChargePointHandler = Callable[[Request, RequestMetadata], "Mapping[str, object] | None"]
"""The single handler of a charge point, for one version of OCPP or several."""


class CentralSystemMethods(ABC):
    """The methods of a central system with types that depend on the action and the version."""

    def send_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        version: Version | None = None,
    ) -> Any:
        """Send a request and return the charge point's answer; blocks until it arrives.

        Thread-safe, also in handlers. The requests of one connection are sent in order, one at a time (J16 §4.1.1,
        4/201 §4.1.1). To pass an action in a variable, annotate the variable as `Any`.

        Args:
            charge_point_id: the identity of the charge point.
            action: the OCPP action, such as ``"Reset"``, or a `VendorAction`.
            payload: the fields of the request; may be omitted if none is required.
            timeout: the longest time in seconds that the call may take, in the queue and for the answer; None: what the
                other two times allow. A CALL that was written stays outstanding for ``request_timeout`` all the same,
                or until this time is over if that is later.
            queue_timeout: the longest time in seconds in the queue; None: `Timeouts.queue`.
            version: the version of OCPP of the payload. None: that of the connection; for a type checker, the oldest
                version that has the action.

        Raises:
            ValidationError: the payload violates the schema of the request, or a central system does not send the
                action; nothing was sent.
            NotConnectedError: there is no connection; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
            RequestTimeoutError: no answer arrived in time; `delivery` says whether the request was written.
            ConnectionLostError: the connection ended before the answer arrived.
            CallErrorReceived: the charge point answered with a CALLERROR.
            InvalidResponseError: the answer violates its schema.
        """
        return self._send_request(
            charge_point_id, action, {} if payload is None else payload, timeout, queue_timeout, version
        )

    def submit_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        version: Version | None = None,
    ) -> Future[Any]:
        """Send a request and return a future of the charge point's answer; does not block.

        The arguments are those of `send_request`; the times start now. The future's ``cancel()`` works until the
        request is written.

        Raises:
            ValidationError: as for `send_request`; the future raises its other errors.
        """
        return self._submit_request(
            charge_point_id, action, {} if payload is None else payload, timeout, queue_timeout, version
        )

    def send(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        version: Version | None = None,
    ) -> None:
        """Send a message without an answer: a SEND of OCPP 2.1 (4/21 §4.2.4).

        The specification has no SEND from the central system, so the action is a `VendorAction` without a response.
        There is no confirmation that the message arrived.

        Args:
            charge_point_id: the identity of the charge point.
            action: a `VendorAction` whose ``response`` is None.
            payload: the fields of the message; may be omitted if none is required.
            version: the version of OCPP of the payload; None: that of the connection.

        Raises:
            ValidationError: the payload violates its schema, or a central system does not send the action; nothing
                was sent.
            NotConnectedError: there is no connection; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
        """
        self._send(charge_point_id, action, {} if payload is None else payload, version)

    def on(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that registers a function as the handler of an action; the function is unchanged.

        The handler gets ``(payload, metadata)`` and returns the answer, a dict; None means ``{}`` for an answer
        without required fields. It runs in the handlers' thread pool, and may block and call `send_request`. It may
        raise `CallError` to answer with a CALLERROR; any other exception is answered with InternalError, without its
        text. The result of the handler of a SEND is ignored. To pass an action in a variable, annotate the variable
        as `Any`.

        Args:
            action: the OCPP action, such as ``"BootNotification"``, or a `VendorAction`.
            version: the version of OCPP that the handler is for. None: every version without its own handler of the
                action; for a type checker, the oldest version that has the action.

        Raises:
            ValueError: a charge point does not send that action, or it already has a handler.
        """
        return self._on(action, version)

    def after(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that runs a function after each answer to an action; the function is unchanged.

        The function gets the ``(payload, metadata)`` of the request after the CALLRESULT was sent. It runs in the
        handlers' thread pool, and may block and call `send_request`; its result is ignored. To pass an action in a
        variable, annotate the variable as `Any`.

        Args:
            action: the OCPP action, or a `VendorAction`.
            version: as for `on`.

        Raises:
            ValueError: a charge point does not send that action, or it is a SEND, which has no answer.
        """
        return self._after(action, version)

    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, *, version: Version | None = None
    ) -> Callable[[Any], Any]:
        """Return a decorator that registers a function as the handler of a vendor's DataTransfer.

        The function is unchanged. It gets and returns the same as a handler of `on` for ``"DataTransfer"``, which gets
        the remaining requests.

        Args:
            vendor_id: the ``vendorId`` of the request.
            message_id: the ``messageId`` of the request; None: every one without its own handler of this vendor.
            version: as for `on`.

        Raises:
            ValueError: there is already such a handler.
        """
        return self._on_data_transfer(vendor_id, message_id, version)

    @abstractmethod
    def _send_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        timeout: float | None,
        queue_timeout: float | None,
        version: Version | None,
    ) -> Any:
        """Implement `send_request`."""

    @abstractmethod
    def _submit_request(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        timeout: float | None,
        queue_timeout: float | None,
        version: Version | None,
    ) -> Future[Any]:
        """Implement `submit_request`."""

    @abstractmethod
    def _send(
        self,
        charge_point_id: str,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        version: Version | None,
    ) -> None:
        """Implement `send`."""

    @abstractmethod
    def _on(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Implement `on`."""

    @abstractmethod
    def _after(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Implement `after`."""

    @abstractmethod
    def _on_data_transfer(
        self, vendor_id: str, message_id: str | None, version: Version | None
    ) -> Callable[[Any], Any]:
        """Implement `on_data_transfer`."""


class ChargePointMethods(ABC):
    """The methods of a charge point with types that depend on the action and the version."""

    def send_request(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        version: Version | None = None,
    ) -> Any:
        """Send a request and return the central system's answer; blocks until it arrives.

        Thread-safe, also in handlers. The requests of one connection are sent in order, one at a time (J16 §4.1.1,
        4/201 §4.1.1). To pass an action in a variable, annotate the variable as `Any`.

        Args:
            action: the OCPP action, such as ``"BootNotification"``, or a `VendorAction`.
            payload: the fields of the request; may be omitted if none is required.
            timeout: the longest time in seconds that the call may take, in the queue and for the answer; None: what the
                other two times allow. A CALL that was written stays outstanding for ``request_timeout`` all the same,
                or until this time is over if that is later.
            queue_timeout: the longest time in seconds in the queue; None: `Timeouts.queue`.
            version: the version of OCPP of the payload. None: that of the connection; for a type checker, the oldest
                version that has the action.

        Raises:
            ValidationError: the payload violates the schema of the request, or a charge point does not send the
                action; nothing was sent.
            NotConnectedError: there is no connection; nothing was sent.
            NotRegisteredError: the central system has not accepted the BootNotification yet; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
            RequestTimeoutError: no answer arrived in time; `delivery` says whether the request was written.
            ConnectionLostError: the connection ended before the answer arrived.
            CallErrorReceived: the central system answered with a CALLERROR.
            InvalidResponseError: the answer violates its schema.
        """
        return self._send_request(action, {} if payload is None else payload, timeout, queue_timeout, version)

    def submit_request(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        version: Version | None = None,
    ) -> Future[Any]:
        """Send a request and return a future of the central system's answer; does not block.

        The arguments are those of `send_request`; the times start now. The future's ``cancel()`` works until the
        request is written.

        Raises:
            ValidationError: as for `send_request`; the future raises its other errors.
        """
        return self._submit_request(action, {} if payload is None else payload, timeout, queue_timeout, version)

    def send(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any] | None = None,
        *,
        version: Version | None = None,
    ) -> None:
        """Send a message without an answer: a SEND of OCPP 2.1 (4/21 §4.2.4).

        There is no confirmation that the message arrived.

        Args:
            action: ``"NotifyPeriodicEventStream"``, or a `VendorAction` whose ``response`` is None.
            payload: the fields of the message; may be omitted if none is required.
            version: the version of OCPP of the payload; None: that of the connection.

        Raises:
            ValidationError: the payload violates its schema, or a charge point does not send the action; nothing was
                sent.
            NotConnectedError: there is no connection; nothing was sent.
            NotRegisteredError: the central system has not accepted the BootNotification yet; nothing was sent.
            VersionMismatchError: the connection speaks another version than ``version``; nothing was sent.
        """
        self._send(action, {} if payload is None else payload, version)

    def on(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that registers a function as the handler of an action; the function is unchanged.

        The handler gets ``(payload, metadata)`` and returns the answer, a dict; None means ``{}`` for an answer
        without required fields. It runs in the handlers' thread pool, and may block and call `send_request`. It may
        raise `CallError` to answer with a CALLERROR; any other exception is answered with InternalError, without its
        text. The result of the handler of a SEND is ignored. To pass an action in a variable, annotate the variable
        as `Any`.

        Args:
            action: the OCPP action, such as ``"Reset"``, or a `VendorAction`.
            version: the version of OCPP that the handler is for. None: every version without its own handler of the
                action; for a type checker, the oldest version that has the action.

        Raises:
            ValueError: a central system does not send that action, or it already has a handler.
        """
        return self._on(action, version)

    def after(self, action: str | VendorAction, *, version: Version | None = None) -> Callable[[Any], Any]:
        """Return a decorator that runs a function after each answer to an action; the function is unchanged.

        The function gets the ``(payload, metadata)`` of the request after the CALLRESULT was sent. It runs in the
        handlers' thread pool, and may block and call `send_request`; its result is ignored. To pass an action in a
        variable, annotate the variable as `Any`.

        Args:
            action: the OCPP action, or a `VendorAction`.
            version: as for `on`.

        Raises:
            ValueError: a central system does not send that action, or it is a SEND, which has no answer.
        """
        return self._after(action, version)

    def on_data_transfer(
        self, vendor_id: str, message_id: str | None = None, *, version: Version | None = None
    ) -> Callable[[Any], Any]:
        """Return a decorator that registers a function as the handler of a vendor's DataTransfer.

        The function is unchanged. It gets and returns the same as a handler of `on` for ``"DataTransfer"``, which gets
        the remaining requests.

        Args:
            vendor_id: the ``vendorId`` of the request.
            message_id: the ``messageId`` of the request; None: every one without its own handler of this vendor.
            version: as for `on`.

        Raises:
            ValueError: there is already such a handler.
        """
        return self._on_data_transfer(vendor_id, message_id, version)

    @abstractmethod
    def _send_request(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        timeout: float | None,
        queue_timeout: float | None,
        version: Version | None,
    ) -> Any:
        """Implement `send_request`."""

    @abstractmethod
    def _submit_request(
        self,
        action: str | VendorAction,
        payload: Mapping[str, Any],
        timeout: float | None,
        queue_timeout: float | None,
        version: Version | None,
    ) -> Future[Any]:
        """Implement `submit_request`."""

    @abstractmethod
    def _send(self, action: str | VendorAction, payload: Mapping[str, Any], version: Version | None) -> None:
        """Implement `send`."""

    @abstractmethod
    def _on(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Implement `on`."""

    @abstractmethod
    def _after(self, action: str | VendorAction, version: Version | None) -> Callable[[Any], Any]:
        """Implement `after`."""

    @abstractmethod
    def _on_data_transfer(
        self, vendor_id: str, message_id: str | None, version: Version | None
    ) -> Callable[[Any], Any]:
        """Implement `on_data_transfer`."""
