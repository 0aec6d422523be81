"""Checks lines of JSON against schemas: valid.py SCHEMAS LINES, two folders; NAME.json of the one is for NAME.jsonl of the other."""

import json
import pathlib
import sys

import jsonschema

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
    for error in (error for thing in objects for error in validator.iter_errors(thing)):
        wrong += 1
        print(f"{file.stem}: {list(error.absolute_path)}: {error.message[:200]}")
sys.exit(wrong != 0)
