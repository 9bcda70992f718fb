"""How fast charge points get in: handshakes a second, and the storm after an outage.

A handshake is the TCP connection, TLS with a new session and an elliptic key where there is TLS, and the upgrade. 50
are always under way. Each connection is reset (RST, without a Close) when its 101 is there, and a charger with another
name takes its place; what it costs to take leave of the one that has gone is in the figure. With TLS the load works
about as hard as the server, which bounds how fast one can be found to be.

In the storm 5 000 chargers connect at the same moment. Each sends a BootNotification once it is in. The figure is the
seconds from the first SYN to the last answer. Both listen with a backlog of 1024, beyond which the kernel sends again
after a second; who is refused or reset tries again after 0.2 s. The limits of ocppsync that guard against such a crowd
from one address, and the timeouts of both for a handshake, are out of the way.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from central_systems import HERE, central_system, fleet, installed, installed_peers, running
from figures import Figure, Plan

NAME = "handshakes"
_MOST_STORMS = 3


def run(plan: Plan) -> Iterator[Figure]:
    """Measure it."""
    yield from _handshakes(plan)
    yield from _storms(plan)


def _handshakes(plan: Plan) -> Iterator[Figure]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        variants: dict[str, Sequence[Path]] = {"plain": ()}
        if installed(NAME, "TLS", ["cryptography"]):
            variants["TLS"] = _certificate(Path(directory))
        peers = installed_peers(NAME)
        for _ in range(plan.repetitions):
            for variant, certificate in variants.items():
                for peer in peers:
                    found[variant, peer].append(_rate(plan, peer, certificate))
    for (variant, peer), values in found.items():
        yield Figure("handshakes", variant, peer, "handshakes/s", tuple(values))


def _rate(plan: Plan, peer: str, certificate: Sequence[Path]) -> float:
    with central_system(plan, peer, certificate) as (_, port):
        options = ["--at-once", 5 if plan.smoke else 50, "--seconds", plan.seconds, *(["--tls"] if certificate else [])]
        with running(HERE / "fleet.py", port, "handshakes", *options, core=plan.load_core) as passing:
            return float(json.loads(passing.read())["rate"])


def _storms(plan: Plan) -> Iterator[Figure]:
    chargers = 50 if plan.smoke else 5000
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(min(plan.repetitions, _MOST_STORMS)):
        for peer in installed_peers(NAME):
            with central_system(plan, peer) as (_, port), fleet(plan, port, chargers, at_once=chargers) as took:
                found[peer].append(took["seconds"])
                print(f"reconnect storm, {peer}: {took['tried_again']:.0f} of {chargers} tried again", file=sys.stderr)
    for peer, values in found.items():
        yield Figure("reconnect storm", f"{chargers} chargers", peer, "s", tuple(values), more_is_better=False)


def _certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine that signs itself, and its key, in files."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    ).sign(key, hashes.SHA256())
    files = directory / "localhost.pem", directory / "localhost.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
