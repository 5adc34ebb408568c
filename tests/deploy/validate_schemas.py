"""Checks Kubernetes objects, a JSON list on stdin, against the published schemas of a version.

usage: validate_schemas.py VERSION   (in an environment with the package kubernetes-validate)
"""

import json
import sys

import kubernetes_validate


def main():
    for document in json.load(sys.stdin):
        what = f"{document['kind']} {document['metadata']['name']}"
        try:
            checked_with = kubernetes_validate.validate(document, sys.argv[1], strict=True)
        except kubernetes_validate.ValidationError as error:
            print(f"{what}: {'.'.join(map(str, error.path))}: {error.message}")
        else:
            if checked_with != sys.argv[1]:
                print(f"{what}: no schemas of version {sys.argv[1]}")


if __name__ == "__main__":
    main()
