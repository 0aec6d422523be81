"""Checks lines of JSON against schemas: valid.py SCHEMAS LINES, two folders; NAME.json of the one is for NAME.jsonl of the other."""

import json
import pathlib
import sys

import jsonschema

# Their keys are not fixed.
OPEN = {"facts", "habits", "head", "heads", "tail", "met"}


def names(schema):
    """The keys that a schema speaks of, anywhere in it; and those of them whose own keys are words of a list, or not fixed."""
    known, maps = set(), set(OPEN)
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, dict):
            for name, of in part.get("properties", {}).items():
                known.add(name)
                if isinstance(of, dict) and "additionalProperties" in of:
                    maps.add(name)
            todo += part.values()
    return known, maps


def unknown(value, known, maps):
    """Keys that an output has and its schema has not: nobody who reads the schema would know of them."""
    if isinstance(value, list):
        return set().union(*(unknown(item, known, maps) for item in value))
    if not isinstance(value, dict):
        return set()
    inner = (unknown(item, known, maps) for key, item in value.items() if key not in maps)
    return (set(value) - known).union(*inner)


schemas, lines = map(pathlib.Path, sys.argv[1:])
wrong = 0
for file in sorted(lines.iterdir()):
    schema = json.loads((schemas / file.stem).with_suffix(".json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    objects = [json.loads(line) for line in file.read_text().splitlines()]
    if not objects:
        wrong += 1
        print(f"{file.stem}: there is nothing to check")
    for key in sorted(unknown(objects, *names(schema))):
        wrong += 1
        print(f"{file.stem}: the schema says nothing of the key {key}")
    for error in (error for thing in objects for error in validator.iter_errors(thing)):
        wrong += 1
        print(f"{file.stem}: {list(error.absolute_path)}: {error.message[:200]}")
sys.exit(wrong != 0)
