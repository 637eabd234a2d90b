"""Maps the top-level folder configs/ into the package."""

from setuptools import setup

setup(
    packages=[
        "cckeras",
        "cckeras.backbones",
        "cckeras.benchmarks",
        "cckeras.configs",
        "cckeras.data",
        "cckeras.evaluation",
        "cckeras.export",
        "cckeras.layers",
        "cckeras.methods",
        "cckeras.runs",
        "cckeras.schemas",
        "cckeras.training",
    ],
    package_dir={"cckeras": "cckeras", "cckeras.configs": "configs"},
    package_data={"cckeras.data": ["*.tsv"], "cckeras.schemas": ["*.json"]},
)
