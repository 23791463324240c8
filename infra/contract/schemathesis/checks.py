"""Checks that schemathesis makes on top of its own."""

import schemathesis
from schemathesis.generation.meta import CoveragePhaseData, CoverageScenario


@schemathesis.check
def unknown_method(ctx, response, case):
    """A method that a path does not have is answered by API Gateway: with 404, whatever the API key."""
    data = case.meta.phase.data
    if not isinstance(data, CoveragePhaseData) or data.scenario != CoverageScenario.UNSPECIFIED_HTTP_METHOD:
        return
    assert response.status_code == 404, f"{response.request.method} was answered {response.status_code}, not 404"
    if response.request.method != "HEAD":
        assert response.json() == {"message": "Not Found"}, response.text
