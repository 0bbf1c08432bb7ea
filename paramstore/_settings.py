"""The store's own options from ``PARAMSTORE_*`` and ``paramstore.toml``. The only user of pydantic-settings.

Environment wins over the file. Imported only when something but the root is set, because pydantic costs
ten times as much to import as everything that a plain read needs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from paramstore._options import PREFIX, SETTINGS_FILE, Options
from paramstore._values import nearest
from paramstore.errors import SettingsError

_DEFAULT = Options()
# Whoever may write to an open folder may write this file: it must not say that this does not matter. And where values live
# instead of the files beside it, the file beside them does not say.
_ENVIRONMENT_ONLY = (
    "any_user_may_write", "backend", "mirror", "etcd_ca", "etcd_cert", "etcd_key", "etcd_user", "etcd_password",
    "etcd_password_file", "etcd_check_s",
)  # fmt: skip


class Settings(BaseSettings):
    """Everything that can be set, with its bounds. Unknown names are errors, so that a typo is seen."""

    model_config = SettingsConfigDict(extra="forbid")

    root: str | None = Field(None, description="The directory with params/ and schemas/.")
    journal: str = Field(_DEFAULT.journal, description="Directory of journal segments, or one .jsonl file.")
    timeout_s: float = Field(_DEFAULT.timeout_s, gt=0, le=3600, description="Seconds to wait for the lock.")
    poll_s: float = Field(_DEFAULT.poll_s, ge=0.02, le=0.5, description="Seconds between looks at the files.")
    author: str | None = Field(_DEFAULT.author, min_length=1, description="Author of command-line changes.")
    read_counts: bool = Field(_DEFAULT.read_counts, description="Whether reads are counted.")
    any_user_may_write: bool = Field(
        _DEFAULT.any_user_may_write,
        description="Whether folders that every user may write to are used. From the environment only.",
    )
    doctor_silent_intervals: float = Field(
        _DEFAULT.doctor_silent_intervals,
        ge=1,
        le=1000,
        description="Usual intervals until a learner is silent.",
    )
    doctor_stale_s: float = Field(
        _DEFAULT.doctor_stale_s, gt=0, le=1e9, description="Seconds without a change until a value is stale."
    )
    doctor_flips: int = Field(_DEFAULT.doctor_flips, ge=2, le=1000, description="Alternating changes.")
    doctor_pinned: int = Field(_DEFAULT.doctor_pinned, ge=1, le=1000, description="Changes at a step limit.")
    doctor_refused: int = Field(_DEFAULT.doctor_refused, ge=1, le=1000, description="Refusals in a row.")
    doctor_sources: tuple[str, ...] = Field(_DEFAULT.doctor_sources, description="Folders with source code.")

    backend: str | None = Field(
        _DEFAULT.backend,
        description="Where values live instead of files: etcd://host:2379,…/prefix. From the environment only.",
    )
    mirror: str | None = Field(
        _DEFAULT.mirror,
        description="Directory of this machine's mirror of the cluster. From the environment only.",
    )
    etcd_ca: str | None = Field(
        _DEFAULT.etcd_ca, description="File with the authority that signed the cluster's certificates."
    )
    etcd_cert: str | None = Field(_DEFAULT.etcd_cert, description="File with the client's certificate.")
    etcd_key: str | None = Field(_DEFAULT.etcd_key, description="File with the key of that certificate.")
    etcd_user: str | None = Field(_DEFAULT.etcd_user, min_length=1, description="User of the cluster.")
    etcd_password: str | None = Field(
        _DEFAULT.etcd_password, description="The user's password; better is a file.", repr=False
    )
    etcd_password_file: str | None = Field(
        _DEFAULT.etcd_password_file, description="File with the user's password."
    )
    etcd_check_s: float = Field(
        _DEFAULT.etcd_check_s,
        ge=0.1,
        le=60,
        description="Seconds between two questions for the newest entry.",
    )

    @field_validator("journal")
    @classmethod
    def _inside(cls, value: str) -> str:
        if not value.strip() or value.strip("/") in (".", "params", "schemas"):
            raise ValueError("name a directory of its own, or a file that ends in .jsonl")
        return value

    @field_validator("doctor_sources", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` looks into the environment that the store was given


def load(root: str | None, environ: Mapping[str, str]) -> Options:
    """Return the validated options of the store at ``root``, or of one without files. Raises ``SettingsError``."""
    known = Settings.model_fields
    for name in environ:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in known:
            close = nearest(name, [PREFIX + field.upper() for field in known])
            hint = f" Did you mean {close[0]}?" if close else ""
            raise SettingsError(f"{name} is not a setting of paramstore.{hint} Nothing was opened.")
    try:
        named = {field: environ.get(PREFIX + field.upper(), "") for field in known}
        chosen = {field: text for field, text in named.items() if text}
        written = {} if root is None else _from_file(os.path.join(root, SETTINGS_FILE))
        settings = Settings(**{**written, **chosen})
    except ValidationError as error:
        raise SettingsError("\n".join(map(_sentence, error.errors())) + "\nNothing was opened.") from None
    return Options(**{name: value for name, value in settings if name != "root"})


def _from_file(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    try:
        source = TomlConfigSettingsSource(Settings, path)
    except (ValueError, OSError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}. Nothing was opened.") from None
    for name in source.toml_data:
        if name not in Settings.model_fields:
            close = nearest(name, Settings.model_fields)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise SettingsError(f"{path}: `{name}` is not a setting of paramstore.{hint} Nothing was opened.")
        if name in _ENVIRONMENT_ONLY:
            raise SettingsError(
                f"{path}: `{name}` is set in the environment ({PREFIX}{name.upper()}=…) by whoever starts a process, and not "
                "here. Nothing was opened."
            )
    return dict(source.toml_data)


def _sentence(error: Any) -> str:
    name = ".".join(map(str, error["loc"]))
    return f"{PREFIX}{name.upper()} (or `{name}` in {SETTINGS_FILE}) = {error['input']!r}: {error['msg']}."
