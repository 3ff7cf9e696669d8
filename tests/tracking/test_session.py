import os
from pathlib import Path

import pytest
import wandb

from cosmos.config.wandb import WandbSettings
from cosmos.errors import InputError
from cosmos.tracking.mirror import follower_environment
from cosmos.tracking.session import choose_wandb_mode, has_wandb_key
from tests.tracking.examples import KEY


@pytest.fixture(autouse=True)
def nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)


def test_a_key_in_the_environment_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert has_wandb_key()


def test_a_key_in_netrc_is_one_for_its_host_alone(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine example.org login user password {KEY}\n")
    assert not has_wandb_key()
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert has_wandb_key()
    (tmp_path / ".netrc").write_text("machine\n")
    assert not has_wandb_key()


@pytest.mark.parametrize(
    ("mode", "own", "key", "wanted"),
    [
        ("auto", "", "", "offline"),
        ("auto", "", KEY, "online"),
        ("auto", "offline", KEY, "offline"),
        ("auto", "online", "", "online"),
        ("offline", "online", KEY, "offline"),
        ("online", "", "", "online"),
        ("auto", "ONLINE ", "", "online"),
        ("auto", "onlin", "", "offline"),
        ("auto", "onlin", KEY, "online"),
    ],
)
def test_the_mode_is_the_settings_or_follows_from_the_key(
    mode: str, own: str, key: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WANDB_MODE": own, "WANDB_API_KEY": key}.items():
        if value:
            monkeypatch.setenv(name, value)
    settings = WandbSettings.model_validate({"mode": mode})
    monkeypatch.setattr(os, "environ", follower_environment(Path()))  # as its process has it
    assert choose_wandb_mode(settings) == wanted


@pytest.mark.parametrize(("name", "value"), [("BASE_URL", "no address"), ("CONSOLE", "loud")])
def test_a_variable_that_wandb_refuses_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.teardown()  # it reads its variables once
    monkeypatch.setenv(f"WANDB_{name}", value)
    with pytest.raises(InputError, match=rf"^W&B refuses WANDB_{name}: .*; mend or unset it$"):
        has_wandb_key()
