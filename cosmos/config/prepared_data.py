"""Parameters of a prepared dataset: what it was prepared from, and what training reads of them."""

from collections.abc import Mapping
from typing import Any

from cosmos.config.identity import READ_IN_TRAINING, with_first_defaults
from cosmos.config.params import Params


def with_source(params: Params, source: Mapping[str, Any]) -> Params:
    """Return parameters that say what their dataset was prepared from, by `source`, the manifest's record.

    Raises pydantic's ValidationError for a record with impossible values.
    """
    asked = params.data.model_dump()
    prepared = {key: value for key, value in with_first_defaults(source, "data").items() if key in asked}
    kept = {key: asked[key] for key in READ_IN_TRAINING}
    return params.model_copy(update={"data": type(params.data).model_validate({**asked, **prepared, **kept})})
