"""Read a namespace's schema, and judge values by it. The only module that uses jsonschema.

jsonschema alone is not enough for money: NaN and infinity pass its ``minimum`` and ``maximum``, True is
not kept apart from 1 in ``enum``, 1.0 counts as an integer. So each value is first held to its exact
Python type here, and then to the schema's own words by jsonschema.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from paramstore._constraints import Constraint, compile_constraint, violation
from paramstore._model import Spec
from paramstore._state import Dimension, Document
from paramstore._values import freeze, nearest
from paramstore.errors import DocumentError, SchemaError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError as JsonSchemaError

_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "boolean": (bool,),
    "string": (str,),
    "array": (list, tuple),
    "object": (dict,),
}
LARGEST_INTEGER = 2**63 - 1  # beyond, other readers of the same files lose digits
_PLAIN = {
    "type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "default", "description", "title",
    "enum", "x-param", "examples", "$comment",
}  # fmt: skip
NAMESPACE = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")  # as the segments of a key, see the meta-schema
_ANNOTATIONS = {
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$defs",
    "$id", "$anchor", "$dynamicAnchor", "then", "else", "minContains", "maxContains", "contentEncoding",
    "contentMediaType", "contentSchema", "x-param", "x-constraints",
}  # fmt: skip
_META = os.path.join(os.path.dirname(__file__), "namespace.metaschema.json")


class Schema:
    """One compiled ``schemas/<namespace>.schema.json``.

    ``specs`` maps relative keys to ``Spec``, in schema order. Raises ``SchemaError`` with the place when
    the schema is itself wrong.
    """

    def __init__(self, namespace: str, raw: Mapping[str, Any], file: str, digest: str = "") -> None:
        self.namespace = namespace
        self.file = file
        self.digest = digest
        self._raw = raw
        if not NAMESPACE.fullmatch(namespace):
            raise SchemaError(
                file, f"`{namespace}` is no namespace: rename both files to letters, digits, `_` and `-`"
            )
        _check_form(raw, file)
        properties = raw["properties"]
        self.dimensions = tuple(_dimensions(properties, file))
        names = tuple(dimension.name for dimension in self.dimensions)
        self._leaves = dict(_leaves(properties["values"], ()))
        if not self._leaves:
            raise SchemaError(
                file, "declares no parameter below `values`", place="/properties/values/properties"
            )
        self.specs = {path: self._spec(path, leaf, names) for path, leaf in self._leaves.items()}
        self.constraints = tuple(self._constraints(properties["values"].get("x-constraints", ())))
        self._check_defaults()

    def _spec(self, path: str, leaf: Mapping[str, Any], dimensions: tuple[str, ...]) -> Spec:
        extra = dict(leaf.get("x-param", {}))
        kind = leaf.get("type") or _type_of(leaf["enum"][0])
        low, high = leaf.get("minimum"), leaf.get("maximum")
        if low is not None and high is not None and low > high:
            raise SchemaError(
                self.file, f"minimum {low} is above maximum {high}", place=_place(path, "minimum")
            )
        return Spec(
            key=f"{self.namespace}.{path}",
            type=kind,
            schema_file=self.file,
            description=leaf.get("description", ""),
            minimum=low,
            maximum=high,
            default=freeze(leaf.get("default")),
            choices=tuple(leaf["enum"]) if "enum" in leaf else None,
            dimensions=dimensions,
            **extra,
        )

    def _constraints(self, raw: list[Mapping[str, Any]]) -> Iterator[Constraint]:
        numbers = [path for path, spec in self.specs.items() if spec.type in ("number", "integer")]
        for index, item in enumerate(raw):
            try:
                yield compile_constraint(item, numbers)
            except ValueError as error:
                place = f"/properties/values/x-constraints/{index}"
                raise SchemaError(self.file, str(error), place=place) from None

    def _check_defaults(self) -> None:
        for path, leaf in self._leaves.items():
            if "default" in leaf:
                _, problems = self.judge(path, leaf["default"])
                if problems:
                    raise SchemaError(
                        self.file, f"the default is wrong: {problems[0]}", place=_place(path, "default")
                    )

    # -- judging ----------------------------------------------------------------------------------

    def judge(self, path: str, value: Any) -> tuple[Any, list[str]]:
        """Return ``(frozen value, problems)``; an integer given for a number becomes a float.

        Every problem is a sentence without its end: key and value, rule, unit and file.
        """
        spec, leaf = self.specs[path], self._leaves[path]
        value, problem = _exact(_bare(value), spec.type)
        name = f"`{spec.key}` = {_show(value)}"
        if problem is not None:
            return value, [f"{name} {problem} ({self.file})"]
        if not _finite(value):
            rule = "is not a finite number within 64 bits"
            if not isinstance(value, int | float):
                rule = (
                    "is not plain data: lists, mappings with text keys, whole text, finite numbers of 64 bits"
                )
            return value, [f"{name} {rule} ({self.file})"]
        plain = _thaw_tuples(value)
        errors = (
            ()
            if _PLAIN.issuperset(leaf) and self._passes(leaf, value)
            else self._validator(path).iter_errors(plain)
        )
        problems = [f"{name} {self._rule(spec, error)}" for error in errors]
        return _shape(value, leaf), problems

    @staticmethod
    def _passes(leaf: Mapping[str, Any], value: Any) -> bool:
        """Tell whether a plain number is clearly within bounds; anything else is for jsonschema to judge."""
        if "enum" in leaf or "exclusiveMinimum" in leaf or "exclusiveMaximum" in leaf:
            return False
        if type(value) not in (int, float):
            return not ("minimum" in leaf or "maximum" in leaf)
        low, high = leaf.get("minimum", value), leaf.get("maximum", value)
        return bool(low <= value <= high)

    def _validator(self, path: str) -> Draft202012Validator:
        validator = self._validators.get(path)
        if validator is None:
            from jsonschema import Draft202012Validator

            validator = self._validators[path] = Draft202012Validator(self._leaves[path])
        return validator

    @cached_property
    def _validators(self) -> dict[str, Draft202012Validator]:
        return {}

    def _rule(self, spec: Spec, error: JsonSchemaError) -> str:
        unit = f"{spec.unit}; " if spec.unit else ""
        where = f" at {'/'.join(map(str, error.absolute_path))}" if error.absolute_path else ""
        words = {
            "minimum": "is below its minimum",
            "maximum": "is above its maximum",
            "exclusiveMinimum": "is not above its exclusive minimum",
            "exclusiveMaximum": "is not below its exclusive maximum",
        }
        if error.validator in words:
            return f"{words[error.validator]} {error.validator_value}{where} ({unit}{self.file})"
        if error.validator == "enum":
            choices: Any = error.validator_value
            return f"is not one of {', '.join(map(repr, choices))}{where} ({unit}{self.file})"
        return f"breaks the rule `{error.validator}`{where}: {error.message} ({unit}{self.file})"

    def broken_constraints(self, values: Mapping[str, Any]) -> list[str]:
        """Return a sentence for each constraint that complete ``values`` (relative keys) break."""
        found = (violation(constraint, values) for constraint in self.constraints)
        return [f"`{self.namespace}`: {problem} ({self.file})" for problem in found if problem]

    def broken_in_context(
        self, own: Mapping[str, Any], base: Mapping[str, Any]
    ) -> tuple[list[str], list[str]]:
        """Judge constraints within one override: ``(violations, warnings)``.

        An override that sets every parameter of a constraint must satisfy it. One that sets only some
        is a person's tweak: it is allowed, and the broken rule is a warning.
        """
        violations: list[str] = []
        warnings: list[str] = []
        for constraint in self.constraints:
            touched = [path for path in constraint.paths if path in own]
            if not touched:
                continue
            problem = violation(constraint, {**base, **own})
            if problem:
                complete = len(touched) == len(constraint.paths)
                (violations if complete else warnings).append(f"`{self.namespace}`: {problem} ({self.file})")
        return violations, warnings

    # -- documents --------------------------------------------------------------------------------

    def document(self, data: Mapping[str, Any], file: str, digest: str) -> Document:
        """Validate the plain content of a values file and return it frozen.

        Raises ``DocumentError`` with every violation, one a line.
        """
        problems: list[str] = []
        if type(data.get("schema")) is not int or data["schema"] != 1:
            problems.append(f"`schema: 1` must stand at the top, not {data.get('schema')!r}")
        problems += [
            f"`{name}` is not known at the top level"
            for name in data.keys() - {"schema", "values", "overrides"}
        ]
        values = self._section(data.get("values"), problems)
        problems += [f"`{self.namespace}.{path}` is missing" for path in self.specs if path not in values]
        overrides = self._overrides(data.get("overrides", []), problems)
        if not problems:
            values = {path: values[path] for path in self.specs}
            problems = self.broken_constraints(values)
            for at, own in overrides:
                problems += [f"in {dict(at)}: {p}" for p in self.broken_in_context(own, values)[0]]
        if problems:
            raise DocumentError(file, "\n  ".join(problems))
        return Document(self.namespace, values, overrides, self.dimensions, digest, self.digest)

    def _section(self, tree: Any, problems: list[str], context: str = "") -> dict[str, Any]:
        """Flatten and judge one ``values`` mapping."""
        found: dict[str, Any] = {}
        if not isinstance(tree, dict):
            problems.append(f"`values` must be a mapping{context}, not {_show(tree)}")
            return found
        for path, value in self._flatten(tree, "", problems, context):
            found[path], wrong = self.judge(path, value)
            problems += [f"{p}{context}" for p in wrong]
        return found

    def _flatten(
        self, tree: Mapping[str, Any], prefix: str, problems: list[str], context: str
    ) -> Iterator[tuple[str, Any]]:
        for name, value in tree.items():
            path = f"{prefix}{name}"
            if path in self.specs:
                yield path, value
            elif path not in self._groups:
                close = nearest(path, self.specs)
                hint = f"; did you mean `{self.namespace}.{close[0]}`?" if close else ""
                problems.append(f"`{self.namespace}.{path}` is not in {self.file}{context}{hint}")
            elif isinstance(value, dict):
                yield from self._flatten(value, f"{path}.", problems, context)
            else:
                problems.append(f"`{self.namespace}.{path}` is a group, not {_show(value)}{context}")

    @cached_property
    def _groups(self) -> set[str]:
        parts = (path.split(".")[:-1] for path in self.specs)
        return {".".join(names[: i + 1]) for names in parts for i in range(len(names))}

    def _overrides(self, raw: Any, problems: list[str]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        found: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
        if not isinstance(raw, list):
            problems.append(f"`overrides` must be a list, not {_show(raw)}")
            return found
        for index, item in enumerate(raw):
            where = f" in override {index + 1}"
            if not isinstance(item, dict) or item.keys() != {"at", "values"}:
                problems.append(f"an override needs exactly `at` and `values`{where}")
                continue
            problem = self._wrong_at(item["at"], found)
            if problem:
                problems.append(problem + where)
                continue
            found.append((freeze(item["at"]), self._section(item["values"], problems, where)))
        return found

    def _wrong_at(self, at: Any, before: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str | None:
        from paramstore._layers import check_context
        from paramstore.errors import ContextError

        if not isinstance(at, dict) or not at:
            return "`at` must name at least one dimension"
        if not self.dimensions:
            return f"{self.file} declares no dimensions, so there can be no overrides"
        try:
            known = check_context(at, {dimension.name: dimension for dimension in self.dimensions})
        except ContextError as error:
            return str(error).partition(" `get` takes")[0]
        if len(known) != len(at):
            return "`at` has a dimension without a value"
        if any(where == at for where, _ in before):
            return f"the context {at} has an override already"
        return None

    def warnings(self, document: Document) -> list[str]:
        """Return the constraints that partial overrides break, as sentences."""
        return [
            f"in {dict(at)}: {warning}"
            for at, own in document.overrides
            for warning in self.broken_in_context(own, document.values)[1]
        ]

    def plain_errors(self, data: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield ``(path, message)`` for what any JSON Schema validator, such as an editor's, finds wrong."""
        from jsonschema import Draft202012Validator

        for error in Draft202012Validator(self._raw).iter_errors(data):
            yield tuple(error.absolute_path), str(error.message)

    def defaults(self) -> dict[str, Any]:
        """Return the nested defaults, as ``init`` writes them. Raises ``SchemaError`` if one is missing."""
        tree: dict[str, Any] = {}
        for path, leaf in self._leaves.items():
            if "default" not in leaf:
                raise SchemaError(self.file, f"`{path}` has no default", place=_place(path))
            *groups, name = path.split(".")
            node = tree
            for group in groups:
                node = node.setdefault(group, {})
            node[name] = leaf["default"]
        return tree


def load_schema(namespace: str, raw: bytes, file: str, digest: str) -> Schema:
    """Compile the bytes of a schema file. Raises ``SchemaError`` for anything wrong with them."""
    return Schema(namespace, read_schema(raw, file), file, digest)


def read_schema(raw: bytes, file: str) -> dict[str, Any]:
    """Return the JSON object in the bytes of a schema file. Raises ``SchemaError``."""
    try:
        data = json.loads(
            raw.decode("utf-8-sig"),
            parse_constant=_no_constant,
            parse_float=_finite_float,
            object_pairs_hook=_no_duplicates,
        )
    except json.JSONDecodeError as error:
        raise SchemaError(
            file, f"is not JSON: {error.msg} (column {error.colno})", line=error.lineno
        ) from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise SchemaError(file, f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise SchemaError(file, "must be a JSON object")
    return data


def form_errors(raw: Mapping[str, Any], file: str) -> list[SchemaError]:
    """Return everything in which a schema is not JSON Schema 2020-12, or not the form of a namespace; and
    misspelt keywords, which JSON Schema passes over in silence: a `maximun` bounds nothing."""
    from jsonschema import Draft202012Validator as Validator
    from jsonschema.exceptions import best_match

    def errors(validator: Validator, say: Callable[[JsonSchemaError], str]) -> list[SchemaError]:
        best = [best_match([error]) or error for error in validator.iter_errors(raw)]
        places = ["/" + "/".join(map(str, error.absolute_path)) for error in best]
        return [SchemaError(file, say(e), place=place) for e, place in zip(best, places, strict=True)]

    formats = Validator.FORMAT_CHECKER  # regular expressions
    standard = errors(Validator(Validator.META_SCHEMA, format_checker=formats), lambda e: str(e.message))
    ours = errors(_meta_validator(), _form_problem)
    told = {error.place for error in ours}
    found = [*(error for error in standard if error.place not in told), *ours]
    known = {*Validator.VALIDATORS, *_ANNOTATIONS}
    return found or list(_misspelt(raw["properties"]["values"], file, "/properties/values", known))


def _misspelt(node: Mapping[str, Any], file: str, place: str, known: set[str]) -> Iterator[SchemaError]:
    for word in node:
        close = nearest(word, known)
        if word not in known and (close or not word.startswith("x-")):  # other x- keywords are other tools'
            hint = f"; did you mean `{close[0]}`?" if close else ""
            yield SchemaError(file, f"the keyword `{word}` means nothing{hint}", place=place)
    if "x-constraints" in node and place != "/properties/values":
        yield SchemaError(file, "`x-constraints` has a meaning on `values` only", place=place)
    if "x-param" not in node:
        for name, child in node.get("properties", {}).items():
            yield from _misspelt(child, file, f"{place}/properties/{name}", known)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _finite_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return found


@cache
def _meta_validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    with open(_META, encoding="utf-8") as file:
        return Draft202012Validator(json.load(file))


def _check_form(raw: Mapping[str, Any], file: str) -> None:
    from jsonschema.exceptions import best_match

    error = best_match(_meta_validator().iter_errors(_unusual(raw)))
    if error is not None:
        place = "/" + "/".join(map(str, error.absolute_path))
        raise SchemaError(file, _form_problem(error), place=place)
    for path, leaf in _leaves(raw["properties"]["values"], ()):
        if not _PLAIN.issuperset(leaf):
            _check_standard(path, leaf, file)


_NUMBER = (int, float)
_WORDS: dict[str, type | tuple[type, ...]] = {
    "type": str, "description": str, "title": str, "minimum": _NUMBER, "maximum": _NUMBER, "x-param": dict,
    "default": object,
}  # fmt: skip
_LIMITS: dict[str, tuple[type | tuple[type, ...], float]] = {
    "decimals": (int, 0), "max_step": (_NUMBER, 1e-300), "max_step_relative": (_NUMBER, 1e-300),
    "cooldown_s": (_NUMBER, 0), "min_samples": (int, 0), "max_drift": (_NUMBER, 1e-300),
}  # fmt: skip


def _unusual(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema without those parameters that are obviously right, all but the first.

    The meta-schema takes a third of a millisecond for each parameter, and nearly all are alike.
    """
    try:
        properties = raw["properties"]
        values = _unusual_group(properties["values"])
        return {**raw, "properties": {**properties, "values": values}}
    except (KeyError, TypeError, AttributeError):
        return raw  # so wrong that only the whole of it can be judged


def _unusual_group(group: Mapping[str, Any]) -> Mapping[str, Any]:
    kept: dict[str, Any] = {}
    plain = False
    for name, node in group["properties"].items():
        if "properties" in node and "x-param" not in node:
            kept[name] = _unusual_group(node)
        elif not plain or not NAMESPACE.fullmatch(name) or not _is_plain(node):
            kept[name] = node
            plain = True
    return {**group, "properties": kept}


def _is_plain(leaf: Mapping[str, Any]) -> bool:
    if leaf.get("type") not in ("number", "integer", "boolean", "string"):
        return False
    for word, value in leaf.items():
        if (
            word not in _WORDS
            or not isinstance(value, _WORDS[word])
            or (word != "default" and type(value) is bool)
        ):
            return False
    return all(_is_plain_limit(word, value) for word, value in leaf.get("x-param", {}).items())


def _is_plain_limit(word: str, value: Any) -> bool:
    if word in ("unit", "owner", "learnable"):
        return type(value) is (bool if word == "learnable" else str) and value != ""
    if word not in _LIMITS or type(value) not in (int, float):
        return False
    kind, least = _LIMITS[word]
    number: float = value
    return isinstance(value, kind) and number >= least and (word != "decimals" or number <= 15)


def _form_problem(error: JsonSchemaError) -> str:
    if error.validator == "not" and "multipleOf" in str(error.validator_value):
        return "`multipleOf` is not allowed: binary fractions make it fail (0.35 is no multiple of 0.05); use x-param.decimals"
    if error.validator == "anyOf" and error.absolute_path:
        return f"`{error.absolute_path[-1]}` needs `type` or `enum`"
    if error.validator == "oneOf":
        return (
            "a constraint is either `sum` with `equals`, `minimum` or `maximum`, or `descending`, or `ascending`, "
            "these two with or without `strict`"
        )
    return str(error.message)


def _check_standard(path: str, leaf: Mapping[str, Any], file: str) -> None:
    """Hold a parameter with unusual keywords to the 2020-12 meta-schema (too slow to do for every one)."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError as JsonSchemaError

    try:
        formats = Draft202012Validator.FORMAT_CHECKER  # regular expressions
        Draft202012Validator.check_schema(leaf, formats)
    except JsonSchemaError as error:
        inner = "/".join(map(str, error.absolute_path))
        raise SchemaError(file, str(error.message), place=_place(path, *([inner] if inner else []))) from None
    if _refers(leaf):
        problem = "a parameter is written out in full: `$ref` is not followed"
        raise SchemaError(file, problem, place=_place(path))


def _refers(node: Any) -> bool:
    if isinstance(node, dict):
        return any(name in ("$ref", "$dynamicRef") or _refers(inner) for name, inner in node.items())
    return isinstance(node, list) and any(map(_refers, node))


def _place(path: str, *more: str) -> str:
    steps = [step for name in path.split(".") for step in ("properties", name)]
    return "/" + "/".join(["properties", "values", *steps, *more])


def _leaves(group: Mapping[str, Any], prefix: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, node in group["properties"].items():
        here = (*prefix, name)
        if "properties" in node and "x-param" not in node:
            yield from _leaves(node, here)
        else:
            yield ".".join(here), node


def _dimensions(properties: Mapping[str, Any], file: str) -> Iterator[Dimension]:
    import keyword

    if "overrides" not in properties:
        return
    for name, node in properties["overrides"]["items"]["properties"]["at"]["properties"].items():
        if keyword.iskeyword(name) or name in ("key", "self"):
            place = f"/properties/overrides/items/properties/at/properties/{name}"
            raise SchemaError(file, f"a dimension cannot be called `{name}`", place=place)
        choices = tuple(node["enum"]) if "enum" in node else None
        yield Dimension(name, node.get("type") or _type_of((choices or ("",))[0]), choices)


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "string")


def _exact(value: Any, kind: str) -> tuple[Any, str | None]:
    """Hold ``value`` to the Python type of ``kind``. Only int to float is converted, and only exactly."""
    if kind == "number":
        if type(value) is int:
            try:
                exact = float(value)
            except OverflowError:
                return value, "is too large for a number"
            return (exact, None) if int(exact) == value else (value, "cannot be kept exactly as a number")
        return value, None if type(value) is float else f"is {_kind(value)}, a number is expected"
    fits = isinstance(value, _TYPES[kind]) and (type(value) is not bool or kind == "boolean")
    article = "an" if kind[0] in "aio" else "a"
    return value, None if fits else f"is {_kind(value)}, {article} {kind} is expected"


def _bare(value: Any) -> Any:
    """Return a subclass of a plain scalar (``numpy.float64``, a member of an enum) as the plain scalar:
    it is the same value, and what a later read of the file gives."""
    if isinstance(value, float):
        return value if type(value) is float else float(value)
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    return int(value) if isinstance(value, int) and type(value) not in (int, bool) else value


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    name = {bool: "boolean", int: "integer", float: "number", str: "string"}.get(type(value))
    if name is None:
        name = (
            "array"
            if isinstance(value, list | tuple)
            else "object"
            if isinstance(value, dict)
            else type(value).__name__
        )
    return f"{'an' if name[0] in 'aio' else 'a'} {name}"


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -LARGEST_INTEGER <= value <= LARGEST_INTEGER
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and all(map(_finite, value.values()))
    return value is None or (isinstance(value, str) and _encodes(value))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which no file can hold
        return False
    return True


def _shape(value: Any, leaf: Mapping[str, Any]) -> Any:
    """Freeze ``value`` into the containers that the schema means: ``prefixItems`` makes a tuple, and a
    number inside stays or becomes a float."""
    if isinstance(value, list | tuple):
        prefix, rest = leaf.get("prefixItems", ()), leaf.get("items", {})
        inner = [
            _shape(item, prefix[i] if i < len(prefix) else rest if isinstance(rest, dict) else {})
            for i, item in enumerate(value)
        ]
        return tuple(inner) if prefix else freeze(inner)
    if isinstance(value, dict):
        known, rest = leaf.get("properties", {}), leaf.get("additionalProperties", {})
        rest = rest if isinstance(rest, dict) else {}
        return freeze({name: _shape(item, known.get(name, rest)) for name, item in value.items()})
    if leaf.get("type") == "number" and type(value) is int:
        return float(value)
    return freeze(value)


def _thaw_tuples(value: Any) -> Any:
    """jsonschema knows an array only as a ``list``."""
    if isinstance(value, list | tuple):
        return [_thaw_tuples(item) for item in value]
    if isinstance(value, dict):
        return {name: _thaw_tuples(item) for name, item in value.items()}
    return value


def _show(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of more than some thousand digits
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else "a huge value"
    return text if len(text) <= 60 else text[:57] + "…"
