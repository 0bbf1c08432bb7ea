"""Read a namespace's schema, and judge values by it. With ``_schema_form`` the only user of jsonschema.

jsonschema alone is not enough for money: NaN and infinity pass its ``minimum`` and ``maximum``, True is
not kept apart from 1 in ``enum``, 1.0 counts as an integer. So each value is first held to its exact
Python type (``_exact``), and then to the schema's own words by jsonschema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from paramstore._constraints import Constraint, compile_constraint, violation
from paramstore._exact import as_json, bare, hold_to_type, is_finite, shape, show, type_name
from paramstore._model import Spec
from paramstore._schema_form import NAMESPACE, PLAIN, check_form, leaves, place_of, read_schema
from paramstore._schema_safe import MOST_CHARACTERS, has_pattern, too_long
from paramstore._state import Dimension, Document
from paramstore._values import freeze, nearest
from paramstore.errors import DocumentError, SchemaError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError as JsonSchemaError


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
        check_form(raw, file)
        properties = raw["properties"]
        self.dimensions = tuple(_dimensions(properties, file))
        names = tuple(dimension.name for dimension in self.dimensions)
        self._leaves = dict(leaves(properties["values"], ()))
        if not self._leaves:
            raise SchemaError(
                file, "declares no parameter below `values`", place="/properties/values/properties"
            )
        self.specs = {path: self._spec(path, leaf, names) for path, leaf in self._leaves.items()}
        self.constraints = tuple(self._constraints(properties["values"].get("x-constraints", ())))
        self._check_defaults()

    def _spec(self, path: str, leaf: Mapping[str, Any], dimensions: tuple[str, ...]) -> Spec:
        extra = dict(leaf.get("x-param", {}))
        kind = leaf.get("type") or type_name(leaf["enum"][0])
        extra["evidence"] = tuple(extra.get("evidence", ()))
        if kind not in ("number", "integer"):
            for word in ("max_step", "max_step_relative", "max_drift"):
                if word in extra:
                    place = place_of(path, "x-param", word)
                    raise SchemaError(self.file, f"`{word}` limits a number; this is {kind}", place=place)
        low, high = leaf.get("minimum"), leaf.get("maximum")
        if low is not None and high is not None and low > high:
            raise SchemaError(
                self.file, f"minimum {low} is above maximum {high}", place=place_of(path, "minimum")
            )
        return Spec(
            key=f"{self.namespace}.{path}",
            type=kind,
            schema_file=self.file,
            description=leaf.get("description", ""),
            minimum=low,
            maximum=high,
            default=shape(leaf.get("default"), leaf),
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
                        self.file, f"the default is wrong: {problems[0]}", place=place_of(path, "default")
                    )

    # -- judging ----------------------------------------------------------------------------------

    def judge(self, path: str, value: Any) -> tuple[Any, list[str]]:
        """Return ``(frozen value, problems)``; an integer given for a number becomes a float.

        Every problem is a sentence without its end: key and value, rule, unit and file.
        """
        spec, leaf = self.specs[path], self._leaves[path]
        value, problem = hold_to_type(bare(value), spec.type)
        name = f"`{spec.key}` = {show(value)}"
        if problem is not None:
            return value, [f"{name} {problem} ({self.file})"]
        if not is_finite(value):
            rule = "is not a finite number within 64 bits"
            if not isinstance(value, int | float):
                rule = (
                    "is not plain data: lists, mappings with text keys, whole text, finite numbers of 64 bits"
                )
            return value, [f"{name} {rule} ({self.file})"]
        if type(value) not in (int, float, bool) and too_long(value) and has_pattern(leaf):
            return value, [
                f"{name} has a text of more than {MOST_CHARACTERS} characters, which no pattern is held against ({self.file})"
            ]
        plain = as_json(value)
        errors = (
            ()
            if PLAIN.issuperset(leaf) and self._passes(leaf, value)
            else self._validator(path).iter_errors(plain)
        )
        problems = [f"{name} {self._rule(spec, error)}" for error in errors]
        return shape(value, leaf), problems

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

    def exclusive_bounds(self, path: str) -> tuple[float | None, float | None]:
        """Return the limits that a value must be above and below."""
        leaf = self._leaves[path]
        return leaf.get("exclusiveMinimum"), leaf.get("exclusiveMaximum")

    def is_plain_number(self, path: str) -> bool:
        """Tell whether every number within bounds will do."""
        leaf = self._leaves[path]
        return (
            self.specs[path].type in ("number", "integer") and "enum" not in leaf and PLAIN.issuperset(leaf)
        )

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
            problems.append(f"`values` must be a mapping{context}, not {show(tree)}")
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
                problems.append(
                    f"`{self.namespace}.{path}` is not in {self.file}{context}{hint or '; remove the line, or declare it there'}"
                )
            elif isinstance(value, dict):
                yield from self._flatten(value, f"{path}.", problems, context)
            else:
                problems.append(f"`{self.namespace}.{path}` is a group, not {show(value)}{context}")

    @cached_property
    def _groups(self) -> set[str]:
        parts = (path.split(".")[:-1] for path in self.specs)
        return {".".join(names[: i + 1]) for names in parts for i in range(len(names))}

    def _overrides(self, raw: Any, problems: list[str]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        found: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
        if not isinstance(raw, list):
            problems.append(f"`overrides` must be a list, not {show(raw)}")
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
            return str(error).rstrip(".")
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
        for error in _as_an_editor()(self._raw).iter_errors(data):
            yield tuple(error.absolute_path), str(error.message)

    def defaults(self) -> dict[str, Any]:
        """Return the nested defaults, as ``init`` writes them. Raises ``SchemaError`` if one is missing."""
        tree: dict[str, Any] = {}
        for path, leaf in self._leaves.items():
            if "default" not in leaf:
                raise SchemaError(self.file, f"`{path}` has no default", place=place_of(path))
            *groups, name = path.split(".")
            node = tree
            for group in groups:
                node = node.setdefault(group, {})
            node[name] = leaf["default"]
        return tree


@cache
def _as_an_editor() -> type[Draft202012Validator]:
    """Return plain JSON Schema, but for texts so long that a pattern could take too much time."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError as Wrong
    from jsonschema.validators import extend

    def pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[JsonSchemaError]:
        if too_long(value):
            yield Wrong(f"a text of more than {MOST_CHARACTERS} characters, which no pattern is held against")
        else:
            yield from Draft202012Validator.VALIDATORS["pattern"](validator, wanted, value, schema) or ()

    return extend(Draft202012Validator, {"pattern": pattern})  # type: ignore[no-any-return, no-untyped-call]


def load_schema(namespace: str, raw: bytes, file: str, digest: str) -> Schema:
    """Compile the bytes of a schema file. Raises ``SchemaError`` for anything wrong with them."""
    return Schema(namespace, read_schema(raw, file), file, digest)


def _dimensions(properties: Mapping[str, Any], file: str) -> Iterator[Dimension]:
    import keyword

    if "overrides" not in properties:
        return
    for name, node in properties["overrides"]["items"]["properties"]["at"]["properties"].items():
        if keyword.iskeyword(name) or name in (
            "key",
            "self",
            "no_default",
            "value",
            "values",
            "prefix",
            "on_violation",
        ):
            place = f"/properties/overrides/items/properties/at/properties/{name}"
            raise SchemaError(file, f"a dimension cannot be called `{name}`", place=place)
        choices = tuple(node["enum"]) if "enum" in node else None
        yield Dimension(name, node.get("type") or type_name((choices or ("",))[0]), choices)
