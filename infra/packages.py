"""Zips the functions of two builds as the SAM CLI does when it deploys them, and compares the zips.

Usage: python infra/packages.py BUILD BUILD, with the Python that the SAM CLI is installed for.
"""
import hashlib
import os
import sys
import tempfile

from samcli.lib.package.utils import make_zip_with_lambda_permissions


def packages(build):
    out = tempfile.mkdtemp()
    sums = {}
    for function in sorted(os.listdir(build)):
        if os.path.isdir(os.path.join(build, function)):
            path = make_zip_with_lambda_permissions(os.path.join(out, function), os.path.join(build, function))
            with open(path, "rb") as package:
                sums[function] = hashlib.sha256(package.read()).hexdigest()
    return sums


here, there = packages(sys.argv[1]), packages(sys.argv[2])
for function, digest in here.items():
    print(digest, function, "" if digest == there.get(function) else "DIFFERS")
sys.exit(not here or here != there)
