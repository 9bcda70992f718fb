"""Tests of `charging`, without network, threads or sleeps."""

import threading
import unittest

from charging import Site, make_central_system, reset_idle_charge_points

from ocppsync import CallErrorReceived, CentralSystem, utc_now
from ocppsync.testing import CentralSystemTestCase, FakeChargePoint


class ChargingTest(CentralSystemTestCase):
    def make_central_system(self) -> CentralSystem:
        self.site = Site({"04A1B2C3"})
        return make_central_system(None, self.site)

    def booted(self, charge_point_id: str = "CP1") -> FakeChargePoint:
        """Return a charge point that has booted and is configured."""
        cp = self.charge_point(charge_point_id)
        cp.expect("ChangeConfiguration", {"status": "Accepted"})
        cp.boot(chargePointVendor="Acme")
        cp.wait_for("ChangeConfiguration")  # sent after the answer; with threads, a little later
        return cp

    def start(self, cp: FakeChargePoint, meter: int = 0) -> int:
        """Start a transaction and return its id."""
        payload = {"connectorId": 1, "idTag": "04A1B2C3", "meterStart": meter, "timestamp": utc_now()}
        transaction_id: int = cp.call("StartTransaction", payload)["transactionId"]
        return transaction_id


class BootTest(ChargingTest):
    def test_configures_an_accepted_charge_point(self) -> None:
        cp = self.charge_point()
        cp.expect("ChangeConfiguration", {"status": "Accepted"}, payload={"value": "60"})
        self.assertEqual(cp.boot(chargePointVendor="Acme")["status"], "Accepted")
        self.assertEqual(self.site.problems, {})

    def test_rejects_another_vendor(self) -> None:
        cp = self.charge_point()
        self.assertEqual(cp.boot(chargePointVendor="Other")["status"], "Rejected")
        cp.assert_not_received("ChangeConfiguration")

    def test_records_an_unsupported_setting(self) -> None:
        cp = self.charge_point()
        cp.expect("ChangeConfiguration", {"status": "NotSupported"})
        cp.boot(chargePointVendor="Acme")
        self.assertEqual(self.site.problems, {"CP1": "NotSupported"})

    def test_records_a_call_error(self) -> None:
        cp = self.charge_point()
        cp.refuse("ChangeConfiguration", "InternalError")
        cp.boot(chargePointVendor="Acme")
        self.assertEqual(self.site.problems, {"CP1": "CallErrorReceived"})

    def test_records_a_timeout(self) -> None:
        cp = self.charge_point()
        cp.stay_silent("ChangeConfiguration")
        cp.boot(chargePointVendor="Acme")
        # The hook's timeout of ten seconds passed on the test's clock, at once.
        self.assertEqual(self.clock.now(), 10)
        self.assertEqual(self.site.problems, {"CP1": "RequestTimeoutError"})

    def test_records_a_lost_connection(self) -> None:
        cp = self.charge_point()
        cp.drop_on("ChangeConfiguration")
        cp.boot(chargePointVendor="Acme")
        self.assertEqual(self.site.problems, {"CP1": "ConnectionLostError"})
        self.assertEqual(self.cs.charge_points, [])


class SessionTest(ChargingTest):
    def test_adds_up_the_energy(self) -> None:
        cp = self.booted()
        for start, stop in ((1000, 3000), (3000, 3500)):
            number = self.start(cp, start)
            cp.call("StopTransaction", {"transactionId": number, "meterStop": stop, "timestamp": utc_now()})
        self.assertEqual(self.site.energy, {"04A1B2C3": 2500})

    def test_rejects_an_unknown_card(self) -> None:
        answer = self.booted().call("Authorize", {"idTag": "STOLEN"})
        self.assertEqual(answer["idTagInfo"]["status"], "Invalid")

    def test_refuses_an_invalid_request(self) -> None:
        with self.assertRaises(CallErrorReceived) as caught:
            self.booted().call("Authorize", {"idTag": 4})
        self.assertEqual(caught.exception.code, "TypeConstraintViolation")

    def test_survives_a_malformed_message(self) -> None:
        cp = self.booted()
        cp.send_malformed()
        self.assertEqual(self.start(cp), 1)

    def test_records_a_disconnection_while_charging(self) -> None:
        cp = self.booted()
        self.start(cp)
        cp.ignore_pings()
        self.clock.advance(60)  # a ping after 30 s, and no answer for 30 s
        self.assertEqual(cp.wait_closed(), 1006)
        self.assertEqual(self.site.problems, {"CP1": "disconnected while charging"})

    def test_ignores_a_power_cut_without_a_transaction(self) -> None:
        cp = self.booted()
        cp.drop()
        cp.connect()
        self.assertEqual(self.site.problems, {})


class ResetTest(ChargingTest):
    def test_resets_only_idle_charge_points(self) -> None:
        idle, busy, stubborn = self.booted("IDLE"), self.booted("BUSY"), self.booted("STUBBORN")
        self.start(busy)
        idle.expect("Reset", {"status": "Accepted"}, delay=15)
        stubborn.expect("Reset", {"status": "Rejected"})
        self.assertEqual(reset_idle_charge_points(self.cs, self.site), ["IDLE"])
        busy.assert_not_received("Reset")
        self.assertEqual(self.site.problems, {})

    def test_records_a_reset_that_takes_too_long(self) -> None:
        self.booted().expect("Reset", {"status": "Accepted"}, delay=25)
        self.assertEqual(reset_idle_charge_points(self.cs, self.site), [])
        self.assertEqual(self.site.problems, {"CP1": "RequestTimeoutError"})


class NightlyResetTest(ChargingTest):
    """Code on its own thread: the test waits for events and never sleeps."""

    inline = False

    def test_serves_requests_during_the_reset(self) -> None:
        cp = self.booted()
        reset = cp.expect("Reset", {"status": "Accepted"}, hold=True)
        nightly = threading.Thread(target=reset_idle_charge_points, args=(self.cs, self.site))
        nightly.start()
        cp.wait_for("Reset", {"type": "Soft"})
        self.assertEqual(cp.call("Authorize", {"idTag": "04A1B2C3"})["idTagInfo"]["status"], "Accepted")
        reset.release()
        nightly.join(5)
        self.assertFalse(nightly.is_alive())


if __name__ == "__main__":
    unittest.main()
