"""The dashboard's picture is drawn from what a deployed stack really measures and says."""

import xml.etree.ElementTree as ET

from local.dashboard_picture import run
from tests.system.deployment import Deployment


def test_a_run_fills_the_deployed_dashboard(deployment: Deployment) -> None:
    seen = run(deployment.stack, seconds_per_round=0.5)

    picture = seen.picture()

    root = ET.fromstring(picture)  # noqa: S314  a document of ours
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    for label in ("accepted, webhook", "accepted, event", "unknown, webhook", "dead letters"):
        assert label in texts, label
    assert {"crm", "phlo", "plivo-throttled", "▲", "✓"} <= texts
    measured = {(point.namespace, point.metric) for point in seen.points}
    assert measured >= {
        ("PlivoColdTransfer", "PlivoLatency"),
        ("PlivoColdTransfer", "ActionRejected"),
        ("PlivoColdTransfer", "RequestUnauthorized"),
        ("AWS/Lambda", "Duration"),
        ("AWS/ApiGateway", "5XXError"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    }
