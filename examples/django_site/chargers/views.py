"""The list of chargers, and the reset button."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from ocppsync import CallErrorReceived, NotConnectedError, OCPPRequestError, RequestTimeoutError

from .central import cs
from .models import Charger


def overview(request: HttpRequest) -> HttpResponse:
    """Show all chargers."""
    connected = set(cs.charge_points)
    chargers = [(charger, charger.identity in connected) for charger in Charger.objects.order_by("identity")]
    return render(request, "chargers/overview.html", {"chargers": chargers, "host": request.get_host()})


@require_POST
def reset(request: HttpRequest, identity: str) -> HttpResponse:
    """Reset a charger, and show the result as a message that the user can act on."""
    try:
        answer = cs.send_request(identity, "Reset", {"type": "Soft"}, timeout=10)
    except NotConnectedError:
        messages.error(request, f"{identity} is not connected; nothing was sent. Check its power and network.")
    except RequestTimeoutError as error:
        effect = "nothing was sent" if error.delivery == "not_sent" else "it may still reset"
        messages.warning(request, f"{identity} did not answer in time; {effect}.")
    except CallErrorReceived as error:
        messages.error(request, f"{identity} cannot reset: {error.code}. {error.description}")
    except OCPPRequestError as error:
        messages.error(request, f"The request failed: {error}")
    else:
        if answer["status"] == "Accepted":
            messages.success(request, f"{identity} is resetting.")
        else:
            messages.warning(request, f"{identity} declined to reset.")
    return redirect("overview")
