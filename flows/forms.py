"""Forms of deployments: the names that they offer are read again once a flow has made something of a name."""

from contextlib import suppress

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.exceptions import PrefectException
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from flows.server import POOL


def refresh_forms() -> None:
    """Offer, in the forms of all deployments, the experiments, sweeps and runs that there are now.

    A flow has done its work by then: a server that does not answer, or refuses, keeps the forms as they were.
    """
    in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    with suppress(httpx.HTTPError, PrefectException), get_client(sync_client=True) as client:
        for deployment in client.read_deployments(work_pool_filter=in_pool):
            if deployment.entrypoint:
                form = parameter_schema(load_flow_from_entrypoint(deployment.entrypoint))
                update = DeploymentUpdate(parameter_openapi_schema=form.model_dump_for_openapi())
                client.update_deployment(deployment.id, update)
