"""The secret fields: masked in payloads, not quoted in validation errors."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocppsync.masking.fields import SECRET_FIELDS, is_secret
from ocppsync.masking.messages import masked, masked_text
from ocppsync.validation.catalogue import SUBPROTOCOLS, catalogue


@pytest.mark.parametrize(
    ("payload", "safe"),
    [
        ({"key": "AuthorizationKey", "value": "s3cret"}, {"key": "AuthorizationKey", "value": "***"}),
        ([{"value": "s3cret", "key": "authorizationkey"}], [{"value": "***", "key": "authorizationkey"}]),
        ({"key": "Other", "value": "1"}, {"key": "Other", "value": "1"}),
        ({"location": "ftp://user:s3cret@example.com/x"}, {"location": "ftp://***@example.com/x"}),
        ({"key": ["AuthorizationKey"]}, {"key": ["AuthorizationKey"]}),
        (
            {"component": {"name": "X"}, "variable": {"name": "basicauthpassword"}, "attributeValue": "s3cret"},
            {"component": {"name": "X"}, "variable": {"name": "basicauthpassword"}, "attributeValue": "***"},
        ),
        (
            {"variable": {"name": "VpnKey"}, "variableAttribute": [{"value": "s3cret"}], "actualValue": "s3cret"},
            {"variable": {"name": "VpnKey"}, "variableAttribute": "***", "actualValue": "***"},
        ),
        (
            {"variable": {"name": "HeartbeatInterval"}, "attributeValue": "300"},
            {"variable": {"name": "HeartbeatInterval"}, "attributeValue": "300"},
        ),
        (
            {
                "apn": {"apn": "a", "apnUserName": "u", "apnPassword": "s3cret", "simPin": 1234},
                "basicAuthPassword": "s3cret",
                "vpn": {"server": "v", "password": "s3cret", "key": "s3cret"},
            },
            {
                "apn": {"apn": "a", "apnUserName": "u", "apnPassword": "***", "simPin": "***"},
                "basicAuthPassword": "***",
                "vpn": {"server": "v", "password": "***", "key": "***"},
            },
        ),
    ],
)
def test_secrets_are_masked(payload: Any, safe: Any) -> None:
    assert masked(payload) == safe


def test_nested_payloads_are_masked_up_to_a_depth() -> None:
    payload: Any = {"key": "AuthorizationKey", "value": "s3cret"}
    for _ in range(900):
        payload = [payload]
    assert "s3cret" not in str(masked(payload))
    assert "…" in str(masked(payload))


@pytest.mark.parametrize(
    ("action", "field", "secret"),
    [
        ("ChangeConfiguration", "value", True),
        ("ChangeConfiguration", "key", False),
        ("SetNetworkProfile", "key", True),
        ("SetNetworkProfile", "apnPassword", True),
        ("SetNetworkProfile", "simPin", True),
        ("UpdateFirmware", "location", True),
        ("MeterValues", "location", False),
        ("NotifyReport", "variableAttribute", False),
        ("com.example.SetLight", "password", True),
        ("Authorize", "additionalIdToken", True),
        ("GetTariffs", "idTokens", True),
        ("Authorize", "idTokenInfo", False),
        ("Authorize", "idTag", False),
    ],
)
def test_the_fields_that_errors_do_not_quote(action: str, field: str, secret: bool) -> None:
    assert is_secret(action, {field: "x"}, [field]) is secret


PIN = "48151623"
TOKEN = {"idToken": PIN, "type": "KeyCode"}


@pytest.mark.parametrize(
    "payload",
    [
        {"idToken": TOKEN},
        {"idToken": {**TOKEN, "additionalInfo": [{"additionalIdToken": PIN, "type": "phone"}]}},
        {"idToken": {**TOKEN, "customData": {"vendorId": "v", "again": PIN}}},
        {"idTokenInfo": {"status": "Accepted", "groupIdToken": TOKEN}},
        {"localAuthorizationList": [{"idToken": {"idToken": "04A1", "type": "ISO14443"}}, {"idToken": TOKEN}]},
        {"idToken": {"idToken": "04A1", "type": "Local", "additionalInfo": [{**TOKEN, "additionalIdToken": PIN}]}},
        # In a shape that is not quite right.
        {"IdToken": {"IDTOKEN": PIN, "Type": "keycode"}},
        {"idToken": {"idToken": PIN, "type": "Key_Code "}},
        {"idToken": {"idToken": PIN, "type": "key.c/o-d e"}},
        {"idToken": {"idToken": PIN, "type": ["KeyCode", PIN]}},
        {"idToken": {"idToken": PIN, "type": f"KeyCode {PIN}"}},
        {"idToken": {"idToken": int(PIN), "type": "KeyCode"}},
        {"idToken": {"token": PIN, "type": "KeyCode"}},
        {"idToken": {"idToken": {"value": PIN}, "type": "KeyCode"}},
        {"idToken": {"idToken": PIN, "idTokenType": "KeyCode"}},
        {"idToken": {"idToken": "KeyCode", "type": PIN}},
        {"idToken": [PIN, "KeyCode"]},
        {"idToken": {PIN: "KeyCode"}},
        {"auth": {"pin": PIN}},
        {"auth": {"keyCode": PIN}, "pinCode": PIN},
        {"idToken": [TOKEN]},
        {"idToken": {"value": PIN}, "info": {"type": "KeyCode"}},
        {"idToken": PIN, "type": "KeyCode"},
        {"idToken": PIN, "more": {"kind": "KeyCode"}},
        {"idTokens": [PIN], "more": ["KeyCode"]},
        {"idTag": PIN, "type": "KeyCode"},
        # Within a text.
        {"data": json.dumps({"idToken": TOKEN})},
        {"data": json.dumps(json.dumps({"idToken": TOKEN}))},
        {"data": f"type=KeyCode token={PIN}"},
        {"data": f"<type>KeyCode</type><idToken>{PIN}</idToken>"},
        {"data": json.dumps({"idToken": TOKEN})[:-1]},
        {"data": json.dumps({"idToken": TOKEN})[:35]},
        {"data": json.dumps({"idToken": [PIN], "more": "KeyCode"})},
    ],
)
def test_a_pin_is_masked_wherever_it_is(payload: Any) -> None:
    assert PIN not in str(masked(payload))
    for action in ("Authorize", "DataTransfer", "com.example.Open"):
        text = json.dumps([2, "1", action, payload])
        assert PIN not in masked_text(text)
        assert json.loads(masked_text(text))[:3] == [2, "1", action]


@pytest.mark.parametrize(
    "payload",
    [
        {"idToken": {"idToken": "04A1", "type": "ISO14443"}, "evseId": [1]},
        {"idTag": "04A1"},
        {"tariffAssignments": [{"idTokens": ["04A1"]}]},
        {
            "getVariableResult": [
                {"variable": {"name": "Types"}, "attributeType": "Actual", "attributeValue": "KeyCode,X"}
            ]
        },
        {"key": ["AuthorizationKey", "HeartbeatInterval"]},
        {"data": '{"a": 1}'},
        {"data": "AuthorizationKey"},
        {"data": "me@example.com"},
        {"location": "https://example.com/x y@z", "key": "Heartbeat", "value": "300"},
    ],
)
def test_what_is_not_secret_stays_as_it_is(payload: Any) -> None:
    text = json.dumps([2, "1", "Authorize", payload], indent=1)
    assert masked_text(text) == text


def test_the_type_of_a_pin_and_the_tokens_beside_it_stay_readable() -> None:
    card = {"idToken": "04A1", "type": "ISO14443"}
    entries = {"localAuthorizationList": [{"idToken": card}, {"idToken": TOKEN}]}
    hidden = {"idToken": "***", "type": "KeyCode"}
    assert masked(entries) == {"localAuthorizationList": [{"idToken": card}, {"idToken": hidden}]}


@pytest.mark.parametrize(
    ("payload", "safe"),
    [
        ({"idTag": "04A1", "connectorId": 1}, {"idTag": "***", "connectorId": 1}),
        ({"IDTAG": ["04A1"], "list": [{"idTag": 4}]}, {"IDTAG": "***", "list": [{"idTag": "***"}]}),
        (
            {"idToken": {"idToken": "04A1", "type": "ISO14443", "additionalInfo": [{"type": "x"}]}},
            {"idToken": {"idToken": "***", "type": "ISO14443", "additionalInfo": "***"}},
        ),
        ({"idToken": {"idToken": "Local", "type": "04A1"}}, {"idToken": {"idToken": "***", "type": "***"}}),
        ({"data": '{"idTag":"04A1"}'}, {"data": '{"idTag":"***"}'}),
    ],
)
def test_further_fields_are_masked_by_name(payload: Any, safe: Any) -> None:
    assert masked(payload, {"idTag", "idToken"}) == safe


@pytest.mark.parametrize(
    "payload",
    [
        {"Key": "AuthorizationKey", "Value": "s3cret"},
        {"variable": "BasicAuthPassword", "attributeValue": "s3cret"},
        {"Variable": {"Name": "BasicAuthPassword"}, "AttributeValue": "s3cret"},
        {"AuthorizationKey": "s3cret"},
        {"data": '{"key":"AuthorizationKey","value":"s3cret"}'},
        {"data": "AuthorizationKey=s3cret"},
        {"description": 'the value "s3cret" of AuthorizationKey is refused'},
        {"key": ["AuthorizationKey"], "value": "s3cret"},
        {"variable": {"name": ["BasicAuthPassword"]}, "attributeValue": "s3cret"},
        {"variable": {"name": "x", "instance": "Password"}, "attributeValue": "s3cret"},
        {"Key": "Heartbeat", "key": "AuthorizationKey", "value": "s3cret"},
        {"VARIABLE": {"name": "x"}, "variable": {"Name": "x", "name": "BasicAuthPassword"}, "attributeValue": "s3cret"},
        # Of a vendor.
        {"configurationKey": [{"key": "WifiPassword", "readonly": False, "value": "s3cret"}]},
        {"key": "Apn.Pass-Word", "value": "s3cret"},
        {"key": "SIMPIN", "value": "s3cret"},
        {"key": " Authorization Key ", "value": "s3cret"},
        {"data": {"name": "AuthorizationKey", "value": "s3cret"}},
        {"data": {"clientSecret": "s3cret", "passwd": "s3cret", "Pin": "s3cret"}},
        {"data": "pincode=s3cret"},
        {"data": "-----BEGIN EC PRIVATE KEY-----\ns3cret\n-----END EC PRIVATE KEY-----"},
        {"variable": {"name": "SharedSecret"}, "attributeValue": "s3cret"},
        # Beside the secret.
        {"variable": {"name": "BasicAuthPassword"}, "attributeStatusInfo": {"additionalInfo": "s3cret is too short"}},
        {"variable": {"name": "BasicAuthPassword"}, "customData": {"before": "s3cret"}, "techInfo": "s3cret"},
        # Not as RFC 3986 §3.2.1 wants it.
        {"location": "ftp://user:a@s3cret@example.com/x"},
        {"location": "ftp://user:a/s3cret@example.com/x"},
        {"location": "ftp://user:a?s3cret#s3cret@example.com/x"},
        {"data": "see ftp://user:a@s3cret@example.com/x and https://u:s3cret@example.com"},
        {"data": '{"a":"ftp://user:a@s3cret@example.com/x","b":"me@example.com"}'},
    ],
)
def test_secrets_are_masked_in_other_shapes(payload: Any) -> None:
    for text in (str(masked(payload)), masked_text(json.dumps([2, "1", "DataTransfer", payload]))):
        assert "s3cret" not in text


WORDS = [
    *(
        "key",
        "value",
        "AuthorizationKey",
        "variable",
        "name",
        "BasicAuthPassword",
        "attributeValue",
        "VpnKey",
        "simPin",
    ),
    *(
        "type",
        "idToken",
        "KeyCode",
        "k-e_y code",
        "password",
        "pin",
        "x://a:b@c",
        '{"type":"KeyCode"}',
        "{a:1}",
        "AuthorizationKey=1",
    ),
    *("ISO14443", "\\", "\u017f", "1"),
]
VALUES = st.recursive(
    st.sampled_from(WORDS) | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(WORDS), VALUES))
def test_the_short_way_through_a_message_finds_all_secrets(payload: Any) -> None:
    message = [2, "1", "DataTransfer", payload]
    text = json.dumps(message)
    assert json.loads(masked_text(text)) == masked(message)


# Texts that are not messages.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            '[3,"1",{"configurationKey":[{"key":"AuthorizationKey","readonly":false,"value":"s3cret',
            '[3,"1",{"configurationKey":[{"key":"***","readonly":false,"value":"***',
        ),
        ('[2,"1","ChangeConfiguration",{"value":"s3cret', '[2,"1","ChangeConfiguration",{"value":"***'),
        ('[2,"1","Heartbeat",{},]', '[2,"1","Heartbeat",{},]'),
        ('[2, "1", "Heartbeat"]', '[2, "1", "Heartbeat"]'),
        ("", ""),
        ("s3cret", "***"),
    ],
)
def test_what_is_not_a_message_is_shown_without_values(text: str, shown: str) -> None:
    assert masked_text(text) == shown


WHOLE = [
    '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"s3cret"}]',
    '[3,"1",{"configurationKey":[{"value":"s3cret","readonly":true,"key":"AuthorizationKey"}]}]',
    '[2,"1","Authorize",{"idToken":{"idToken":"s3cret","type":"KeyCode"}}]',
    '[2,"1","Authorize",{"idToken":{"idToken":735273,"type":"KeyCode"}}]',
    r'[2,"1","ChangeConfiguration",{"key":"\u0041uthorizationKey","value":"s3cret\\"}]',
    '[2,"1","SetVariables",{"setVariableData":[{"attributeValue":"s3cret","variable":{"name":"BasicAuthPassword"}}]}]',
    '[2,"1","DataTransfer",{"vendorId":"v","data":"{\\"key\\":\\"AuthorizationKey\\",\\"value\\":\\"s3cret\\"}"}]',
]


@pytest.mark.parametrize("text", WHOLE)
def test_no_cut_of_a_message_shows_its_secret(text: str) -> None:
    assert not leaked(masked_text(text))
    for start in range(len(text)):
        assert not leaked(masked_text(text[start:]))
        assert not leaked(masked_text(text[: -start or None]))


@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", "["),
        ('"', "'"),
        ('"', ""),
        (":", "="),
        (",", ";"),
        ("]", ""),
        ("[2", "[9"),
        ('"1"', "1.5"),
        (":", ": NaN:"),
    ],
)
def test_no_broken_message_shows_its_secret(text: str, old: str, new: str) -> None:
    assert not leaked(masked_text(text.replace(old, new)))


@pytest.mark.parametrize(
    "text",
    [
        '[2,"1","ChangeConfiguration",["AuthorizationKey","s3cret"]]',
        '[2,"1","ChangeConfiguration","AuthorizationKey","s3cret"]',
        '[2,"1",{"key":"AuthorizationKey","value":"s3cret"},"ChangeConfiguration"]',
        '[3,"1","s3cret"]',
        '[4,"1","GenericError","AuthorizationKey",["s3cret"]]',
        '{"value":"s3cret"}',
        '"s3cret"',
        '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"s3cret","key":"Other"}]',
        '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"s3cret","more":'
        + "[" * 200
        + "]" * 200
        + "}]",
        '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"s3cret","more":' + "9" * 5000 + "}]",
        '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"s3cret","more":"' + "\\ud83d" + '"}]',
        '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"s3cret","more":1e999}]',
        '[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"s3cret"}]' + "]" * 20_000,
        "[" * 20_000 + '"s3cret"',
    ],
)
def test_no_frame_that_is_not_in_order_shows_its_secret(text: str) -> None:
    assert not leaked(masked_text(text))
    masked_text(text).encode()


def leaked(text: str) -> bool:
    return "cret" in text or "7352" in text or "5273" in text


def test_an_object_with_many_fields_is_masked_at_once() -> None:
    # As below: else each field would look at all the others.
    spellings = ["".join(parts) for parts in itertools.product(*((char, char.upper()) for char in "attributevalue"))]
    for names in (spellings, [f"token{number}" for number in range(30_000)]):
        payload = {**dict.fromkeys(names, 1), "type": "x", "data": "pin"}
        assert masked_text(json.dumps([2, "1", "DataTransfer", payload])).count("token") in (0, 30_000)


def test_a_long_text_is_shown_at_once() -> None:
    # A time that grew with the square of the length would be seen: it takes the test run with it.
    assert masked_text('{"a"' + " " * 1_000_000).startswith('{"***"')
    assert masked_text("{" + '"s3cret",' * 100_000).count("***") == 100_000
    assert masked_text("://" * 300_000 + "[").count("s") == 0
    assert masked_text(json.dumps([3, "1", {"data": "://" * 300_000 + " @" * 100_000}])).count("*") == 0


@pytest.mark.parametrize("field", SECRET_FIELDS)
def test_every_listed_field_exists_in_its_actions(field: str) -> None:
    for action in SECRET_FIELDS[field].actions:
        known = [catalogue(version) for version in SUBPROTOCOLS.values()]
        kinds: Any = ("request", "response")
        schemas = [
            messages.schema(action, kind)
            for messages in known
            for kind in kinds
            if messages.known(action) and kind in messages.entry(action)
        ]
        assert any(f'"{field}": {{' in json.dumps(schema) for schema in schemas), (action, field)
