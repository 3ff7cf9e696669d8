"""Uploads to the Hugging Face hub: a folder becomes a commit of a repository.

The token is that of the environment (HF_TOKEN) or of `hf auth login`, and is neither shown nor kept.
"""

import re
from json import JSONDecodeError
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError

from cosmos.errors import CosmosError, InputError, TransientError, cut_reason, short_reason
from cosmos.model.checkpoint_reference import error_chain

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
"""Pattern of the names of repositories; the hub itself is stricter."""

NEEDS_LOGIN = "`hf auth login` or HF_TOKEN gives one that may write"
"""Remedy for a token that is missing or refused."""


def check_repository(repository: str) -> None:
    """Raise InputError for a text that is no repository's name, and without a token or the network."""
    if constants.HF_HUB_OFFLINE:
        raise InputError("--push: HF_HUB_OFFLINE is set, so that nothing is uploaded; unset it")
    if not REPOSITORY.fullmatch(repository):
        raise InputError(f"--push: {repository!r} is no repository of the hub; give USER/NAME")
    if get_token() is None:
        raise InputError(f"--push: no token of the Hugging Face hub; {NEEDS_LOGIN}")


def upload_folder(folder: Path, repository: str, message: str) -> str:
    """Upload the files of a folder as a commit with this message, and return the commit's address.

    A repository that is not there yet is made, and is private; files that it has besides stay. Raises
    InputError where the hub refuses the token, the repository or the model card, and TransientError where the
    network or the hub fails.
    """
    hub = HfApi()
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        commit = hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except Exception as error:  # the client has no base class of errors
        raise upload_error(f"{repository}: not uploaded to {hub.endpoint}", error) from error
    return str(commit.commit_url)


def upload_error(failed: str, error: Exception) -> CosmosError:
    """Return the error of ours for an upload that failed: by the hub's answer, or by what came before it."""
    if isinstance(error, ValueError) and not isinstance(error, JSONDecodeError):
        return InputError(f"{failed}: {short_reason(error)}")  # as the hub's list of problems of a card
    for reason in error_chain(error):
        if isinstance(reason, HfHubHTTPError):
            return answered_error(failed, reason)
    return TransientError(f"{failed}: {short_reason(error)}; the same command uploads it again")


def answered_error(failed: str, error: HfHubHTTPError) -> CosmosError:
    """Return the error of ours for what the hub answered: its status decides whether to try again."""
    status = error.response.status_code
    reason = f"{status}: {cut_reason(error.server_message or str(error).partition(chr(10))[0])}"
    if status in (401, 403):
        return InputError(f"{failed}: the hub refuses the token ({reason}); {NEEDS_LOGIN} to it")
    if status == 429 or status >= 500:
        return TransientError(f"{failed}: {reason}; the same command uploads it again")
    return InputError(f"{failed}: {reason}")
