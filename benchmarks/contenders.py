"""Other libraries that hold settings: for each, its files, how it loads them, and how it reads one float.

The code is kept as text, so that the same lines are timed in a process and as a whole process.
``ROOT`` is the directory that holds the files. What can be written as well is in ``changing``.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stores import AUTHOR, EVIDENCE, KEY, LEAF, names, paramstore, values, write_store

VARIABLE = f"BENCH_{LEAF.upper()}"
# Not the name in the .env file: python-decouple prefers the environment, and would read it from there.
PLAIN_VARIABLE = f"PLAIN_{LEAF.upper()}"


def _no_files(root: Path, count: int) -> None:
    root.mkdir()


def _no_variables(count: int) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Contender:
    """``reads`` maps a caption to the timed expression; the first is the idiomatic one.

    ``modules`` must all be importable. ``imports`` and ``load`` run before a read. ``frozen``
    names the expressions (after ``freeze`` ran) that no longer follow the library's own changes.
    ``untraced`` says why its memory cannot be measured.

    ``opens`` (else ``load``) is what a writer runs first, and ``change`` writes ``value`` for the key and
    returns once that is acknowledged. ``serve`` holds what must run meanwhile, and needs the ``commands``.
    ``closes`` runs when this process is done with what it opened. ``period_s`` is how often it looks for changes, so that commits fall anywhere between two looks.
    ``lacks`` says what it leaves out that paramstore does.
    """

    name: str
    modules: tuple[str, ...]
    load: str
    reads: Mapping[str, str]
    imports: str = ""
    source: str = "YAML"
    write: Callable[[Path, int], object] = _no_files
    variables: Callable[[int], dict[str, str]] = _no_variables
    freeze: str = ""
    frozen: Mapping[str, str] = field(default_factory=dict)
    untraced: str = ""
    commands: tuple[str, ...] = ()
    serve: Callable[[Path], AbstractContextManager[object]] = nullcontext
    opens: str = ""
    change: str = ""
    closes: str = ""
    period_s: float = 0.005
    lacks: str = ""

    @property
    def first_read(self) -> str:
        return next(iter(self.reads.values()))

    def loaded(self, root: Path) -> str:
        """The code of a process that reads."""
        return f"ROOT = {str(root)!r}\n{self.imports}\n{self.load}\n"

    def opened(self, root: Path) -> str:
        """The code of a process that writes."""
        return f"ROOT = {str(root)!r}\n{self.imports}\n{self.opens or self.load}\n"

    @property
    def absence(self) -> str:
        """Why it cannot be measured here, or nothing."""
        if self.modules == ("paramstore",):
            try:
                paramstore()
            except ImportError as error:
                return f"not available: {error}"
        absent = [name for name in self.modules if not importlib.util.find_spec(name)]
        absent += [name for name in self.commands if not shutil.which(name)]
        return f"not installed: {', '.join(absent)}" if absent else ""

    @contextmanager
    def laid(self, root: Path, count: int) -> Iterator[Path]:
        """Its files with ``count`` values below ``root``, and what must run beside them."""
        self.write(root, count)
        with self.serve(root):
            yield root


def write_yaml(root: Path, count: int) -> None:
    root.mkdir()
    lines = [f"  {name}: {value}\n" for name, value in values(count).items()]
    (root / "settings.yaml").write_text("bench:\n" + "".join(lines), encoding="ascii")


def _variables(count: int) -> dict[str, str]:
    return {f"PLAIN_{name.upper()}": str(value) for name, value in values(count).items()}


def _dotenv(root: Path, count: int) -> None:
    root.mkdir()
    lines = [f"BENCH_{name.upper()}={value}\n" for name, value in values(count).items()]
    (root / ".env").write_text("".join(lines), encoding="ascii")


def _gin(root: Path, count: int) -> None:
    """One configurable with all parameters, and one small one: calling a configurable injects all it has."""
    root.mkdir()
    arguments = ", ".join(f"{name}=gin.REQUIRED" for name in names(count))
    module = ["import gin\n\n", f"@gin.configurable\ndef bench({arguments}):\n    return {LEAF}\n\n"]
    module.append(f"@gin.configurable\ndef gate({LEAF}=gin.REQUIRED):\n    return {LEAF}\n")
    (root / "bench_gin.py").write_text("".join(module), encoding="ascii")
    bindings = [f"bench.{name} = {value}\n" for name, value in values(count).items()]
    bindings.append(f"gate.{LEAF} = {values(count)[LEAF]}\n")
    (root / "bench.gin").write_text("".join(bindings), encoding="ascii")


def _traitlets(root: Path, count: int) -> None:
    root.mkdir()
    module = ["from traitlets import Float\nfrom traitlets.config import Configurable\n\n"]
    module.append("class Bench(Configurable):\n")
    module += [f"    {name} = Float(0.3, min=0.01, max=0.99).tag(config=True)\n" for name in names(count)]
    (root / "bench_traitlets.py").write_text("".join(module), encoding="ascii")
    lines = [f"c.Bench.{name} = {value}\n" for name, value in values(count).items()]
    (root / "bench_config.py").write_text("c = get_config()\n" + "".join(lines), encoding="ascii")


_PYDANTIC = """
class Settings(BaseSettings):
    model_config = SettingsConfigDict(yaml_file=Path(__file__).parent / "settings.yaml")
    bench: Bench

    @classmethod
    def settings_customise_sources(cls, settings_cls, **sources):
        return (YamlConfigSettingsSource(settings_cls),)
"""


def _pydantic(root: Path, count: int) -> None:
    write_yaml(root, count)
    module = ["from pathlib import Path\n\nfrom pydantic import BaseModel, Field\n"]
    module.append(
        "from pydantic_settings import BaseSettings, SettingsConfigDict, YamlConfigSettingsSource\n\n\n"
    )
    module.append("class Bench(BaseModel):\n")
    module += [f"    {name}: float = Field(ge=0.01, le=0.99)\n" for name in names(count)]
    (root / "bench_pydantic.py").write_text("".join(module) + "\n" + _PYDANTIC, encoding="ascii")


def _flags(root: Path, count: int) -> None:
    root.mkdir()
    flags = {f"bench.{name}": value for name, value in values(count).items()}
    (root / "flags.json").write_text(json.dumps(flags, indent=1), encoding="ascii")


PARAMSTORE = Contender(
    name="paramstore",
    modules=("paramstore",),
    write=write_store,
    imports="from paramstore import ParamStore",
    load="store = ParamStore(ROOT)",
    reads={"`store.get(key)`": f"store.get({KEY!r})"},
    freeze="p = store.snapshot().__enter__()",
    frozen={"`p.get(key)` in a snapshot": f"p.get({KEY!r})"},
    change=f"with store.transaction(author={AUTHOR!r}, reason='benchmark', evidence={EVIDENCE!r}) as tx:\n"
    f"    tx[{KEY!r}] = value",
)
OTHERS = (
    Contender(
        name="dynaconf",
        lacks="follows the files on request only",
        modules=("dynaconf",),
        write=write_yaml,
        imports="from dynaconf import Dynaconf",
        load='settings = Dynaconf(root_path=ROOT, settings_files=["settings.yaml"])',
        reads={
            "`settings.bench.key`": f"settings.bench.{LEAF}",
            "`settings[key]`": f"settings[{KEY!r}]",
            "`settings.get_fresh(key)`, which reloads the files": f"settings.get_fresh({KEY!r})",
        },
        freeze='values = settings.as_dict()["BENCH"]',
        frozen={"`as_dict()` once, then the dict": f"values[{LEAF!r}]"},
    ),
    Contender(
        name="OmegaConf",
        lacks="does not follow its file",
        modules=("omegaconf",),
        write=write_yaml,
        imports="from omegaconf import OmegaConf",
        load='settings = OmegaConf.load(ROOT + "/settings.yaml")',
        reads={
            "`settings.bench.key`": f"settings.bench.{LEAF}",
            "`OmegaConf.select(settings, key)`": f"OmegaConf.select(settings, {KEY!r})",
        },
        freeze='values = OmegaConf.to_container(settings)["bench"]',
        frozen={"`to_container()` once, then the dict": f"values[{LEAF!r}]"},
    ),
    Contender(
        name="gin-config",
        lacks="does not follow its file",
        modules=("gin",),
        source="gin file",
        write=_gin,
        imports="import gin, sys",
        load='sys.path.insert(0, ROOT); import bench_gin; gin.parse_config_file(ROOT + "/bench.gin")',
        reads={
            "calling a configurable with one parameter": "bench_gin.gate()",
            "`gin.query_parameter(key)`": f"gin.query_parameter({KEY!r})",
        },
    ),
    Contender(
        name="pydantic-settings",
        lacks="does not follow its file",
        modules=("pydantic_settings", "yaml"),
        write=_pydantic,
        imports="import pydantic_settings, sys",
        load="sys.path.insert(0, ROOT); import bench_pydantic; settings = bench_pydantic.Settings()",
        reads={"`settings.bench.key`": f"settings.bench.{LEAF}"},
    ),
    Contender(
        name="python-decouple",
        lacks="does not follow its file",
        modules=("decouple",),
        source=".env file",
        write=_dotenv,
        imports="from decouple import Config, RepositoryEnv",
        load='config = Config(RepositoryEnv(ROOT + "/.env"))',
        reads={"`config(key, cast=float)`": f"config({VARIABLE!r}, cast=float)"},
    ),
    Contender(
        name="traitlets",
        lacks="does not follow its file",
        modules=("traitlets",),
        source="Python config file",
        write=_traitlets,
        imports="import sys\nfrom traitlets.config import PyFileConfigLoader",
        load="sys.path.insert(0, ROOT); from bench_traitlets import Bench\n"
        'bench = Bench(config=PyFileConfigLoader("bench_config.py", ROOT).load_config())',
        reads={"`bench.key`": f"bench.{LEAF}"},
    ),
    Contender(
        name="os.environ",
        lacks="no other process can change it",
        modules=("os",),
        source="environment",
        variables=_variables,
        imports="import os",
        load="",
        reads={"`float(os.environ[key])`": f"float(os.environ[{PLAIN_VARIABLE!r}])"},
        untraced="not measured: filled before tracemalloc can start",
    ),
    Contender(
        name="OpenFeature, in-memory provider",
        lacks="a call to set a flag is seen in its own process only",
        modules=("openfeature",),
        source="JSON",
        write=_flags,
        imports="import json\nfrom openfeature import api\n"
        "from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider",
        load='flags = json.load(open(ROOT + "/flags.json"))\n'
        'api.set_provider(InMemoryProvider({name: InMemoryFlag("on", {"on": value}) for name, value in flags.items()}))\n'
        "client = api.get_client()",
        reads={"`client.get_float_value(key, default)`": f"client.get_float_value({KEY!r}, 0.0)"},
    ),
)
