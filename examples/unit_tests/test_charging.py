"""The tests of `charging`: no network, no threads, no sleeps."""

import threading
import unittest

from charging import Site, make_central_system, reset_idle_chargers

from ocppsync import CallErrorReceived, CentralSystem, utc_now
from ocppsync.testing import CentralSystemTestCase, FakeChargePoint


class ChargingTest(CentralSystemTestCase):
    def make_central_system(self) -> CentralSystem:
        self.site = Site({"04A1B2C3"})
        return make_central_system(None, self.site)

    def booted(self, charge_point_id: str = "CP1") -> FakeChargePoint:
        """Return a charger that has booted and was set up."""
        cp = self.charge_point(charge_point_id)
        cp.expect("ChangeConfiguration", {"status": "Accepted"})
        cp.boot(chargePointVendor="Acme")
        cp.wait_for("ChangeConfiguration")  # which follows the answer, with threads a little later
        return cp

    def start(self, cp: FakeChargePoint, meter: int = 0) -> int:
        """Start a transaction and return its number."""
        payload = {"connectorId": 1, "idTag": "04A1B2C3", "meterStart": meter, "timestamp": utc_now()}
        transaction_id: int = cp.call("StartTransaction", payload)["transactionId"]
        return transaction_id


class BootTest(ChargingTest):
    def test_a_charger_is_set_up_once_it_is_accepted(self) -> None:
        cp = self.charge_point()
        cp.expect("ChangeConfiguration", {"status": "Accepted"}, payload={"value": "60"})
        self.assertEqual(cp.boot(chargePointVendor="Acme")["status"], "Accepted")
        self.assertEqual(self.site.troubled, {})

    def test_a_charger_of_another_make_is_left_alone(self) -> None:
        cp = self.charge_point()
        self.assertEqual(cp.boot(chargePointVendor="Other")["status"], "Rejected")
        cp.assert_not_received("ChangeConfiguration")

    def test_a_charger_that_does_not_know_the_setting(self) -> None:
        cp = self.charge_point()
        cp.expect("ChangeConfiguration", {"status": "NotSupported"})
        cp.boot(chargePointVendor="Acme")
        self.assertEqual(self.site.troubled, {"CP1": "NotSupported"})

    def test_a_charger_that_refuses(self) -> None:
        cp = self.charge_point()
        cp.refuse("ChangeConfiguration", "InternalError")
        cp.boot(chargePointVendor="Acme")
        self.assertEqual(self.site.troubled, {"CP1": "CallErrorReceived"})

    def test_a_charger_that_never_answers(self) -> None:
        cp = self.charge_point()
        cp.stay_silent("ChangeConfiguration")
        cp.boot(chargePointVendor="Acme")
        # The hook has waited its ten seconds, which took none.
        self.assertEqual(self.clock.now(), 10)
        self.assertEqual(self.site.troubled, {"CP1": "RequestTimeoutError"})

    def test_a_charger_whose_connection_breaks(self) -> None:
        cp = self.charge_point()
        cp.drop_on("ChangeConfiguration")
        cp.boot(chargePointVendor="Acme")
        self.assertEqual(self.site.troubled, {"CP1": "ConnectionLostError"})
        self.assertEqual(self.cs.charge_points, [])


class SessionTest(ChargingTest):
    def test_what_was_charged_is_counted(self) -> None:
        cp = self.booted()
        for start, stop in ((1000, 3000), (3000, 3500)):
            number = self.start(cp, start)
            cp.call("StopTransaction", {"transactionId": number, "meterStop": stop, "timestamp": utc_now()})
        self.assertEqual(self.site.energy, {"04A1B2C3": 2500})

    def test_an_unknown_card(self) -> None:
        answer = self.booted().call("Authorize", {"idTag": "STOLEN"})
        self.assertEqual(answer["idTagInfo"]["status"], "Invalid")

    def test_a_request_that_breaks_its_schema_never_gets_here(self) -> None:
        with self.assertRaises(CallErrorReceived) as caught:
            self.booted().call("Authorize", {"idTag": 4})
        self.assertEqual(caught.exception.code, "TypeConstraintViolation")

    def test_a_malformed_message_harms_nobody(self) -> None:
        cp = self.booted()
        cp.send_malformed()
        self.assertEqual(self.start(cp), 1)

    def test_a_charger_that_vanishes_while_it_charges(self) -> None:
        cp = self.booted()
        self.start(cp)
        cp.ignore_pings()
        self.clock.advance(60)  # a ping, and half a minute without a sign of life
        self.assertEqual(cp.wait_closed(), 1006)
        self.assertEqual(self.site.troubled, {"CP1": "lost while charging"})

    def test_a_power_cut_while_nobody_charges(self) -> None:
        cp = self.booted()
        cp.drop()
        cp.connect()
        self.assertEqual(self.site.troubled, {})


class ResetTest(ChargingTest):
    def test_only_idle_chargers_are_reset(self) -> None:
        idle, busy, stubborn = self.booted("IDLE"), self.booted("BUSY"), self.booted("STUBBORN")
        self.start(busy)
        idle.expect("Reset", {"status": "Accepted"}, delay=15)
        stubborn.expect("Reset", {"status": "Rejected"})
        self.assertEqual(reset_idle_chargers(self.cs, self.site), ["IDLE"])
        busy.assert_not_received("Reset")
        self.assertEqual(self.site.troubled, {})

    def test_a_charger_that_takes_too_long(self) -> None:
        self.booted().expect("Reset", {"status": "Accepted"}, delay=25)
        self.assertEqual(reset_idle_chargers(self.cs, self.site), [])
        self.assertEqual(self.site.troubled, {"CP1": "RequestTimeoutError"})


class NightlyResetTest(ChargingTest):
    """What runs on threads of its own is waited for, and not slept for."""

    inline = False

    def test_it_runs_beside_everything_else(self) -> None:
        cp = self.booted()
        reset = cp.expect("Reset", {"status": "Accepted"}, hold=True)
        nightly = threading.Thread(target=reset_idle_chargers, args=(self.cs, self.site))
        nightly.start()
        cp.wait_for("Reset", {"type": "Soft"})
        self.assertEqual(cp.call("Authorize", {"idTag": "04A1B2C3"})["idTagInfo"]["status"], "Accepted")
        reset.release()
        nightly.join(5)
        self.assertFalse(nightly.is_alive())


if __name__ == "__main__":
    unittest.main()
