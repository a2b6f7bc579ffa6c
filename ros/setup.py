"""The ament_python package `rtseg`: the nodes. The library they run on is the Python package rtseg."""

import re
from glob import glob
from pathlib import Path

from setuptools import setup

SHARE = "share/rtseg"
PACKAGE = Path(__file__).with_name("package.xml").read_text(encoding="utf-8")

setup(
    # The ament package is `rtseg` (package.xml); the Python distribution has a name of its own, or its metadata in the
    # workspace would hide the library's.
    name="rtseg_ros",
    version=re.search("<version>(.+?)</version>", PACKAGE).group(1),
    description="Lane masks and instance masks from a camera topic, at camera rate",
    license="Apache-2.0",
    packages=["rtseg_ros", "rtseg_ros.demo"],
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/rtseg"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/config", glob("config/*")),
        (f"{SHARE}/launch", glob("launch/*.launch.py")),
        (f"{SHARE}/rviz", glob("rviz/*")),
        (f"{SHARE}/foxglove", glob("foxglove/*")),
        (f"{SHARE}/calibration", glob("calibration/*")),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    entry_points={
        "console_scripts": [
            "cameras = rtseg_ros.executables:cameras",
            "instances = rtseg_ros.executables:instances",
            "lanes = rtseg_ros.executables:lanes",
            "perception = rtseg_ros.executables:perception",
            "player = rtseg_ros.executables:player",
            "recorder = rtseg_ros.executables:recorder",
            "when_active = rtseg_ros.when_active:main",
        ]
    },
)
