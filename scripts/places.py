"""Folders that the Python scripts share. Importing it also makes cargo, when they call it, build into the same folder."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# where cargo puts what it builds; absolute, because cargo is called from ROOT
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
os.environ["CARGO_TARGET_DIR"] = str(TARGET)
