"""Check what the wheel and the sdist hold: python .ci/check_distributions.py FOLDER."""

import sys
import tarfile
import zipfile
from pathlib import Path

folder = Path(sys.argv[1])
(wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
in_wheel = set(zipfile.ZipFile(wheel).namelist())
with tarfile.open(sdist) as archive:
    in_sdist = {name.partition("/")[2] for name in archive.getnames()}
modules = {str(path) for path in Path("cnnkit").rglob("*.py")} | {"cnnkit/py.typed"}
metadata = {name for name in in_wheel if ".dist-info/" in name}
wanted = {
    "the wheel lacks": modules - in_wheel,
    "the wheel holds what no user needs": in_wheel - modules - metadata,
    "the wheel has no license": set() if any("LICENSE" in name for name in metadata) else {wheel},
    "the sdist lacks": (modules | {"noxfile.py", "docs/conf.py", "tests/conftest.py"}) - in_sdist,
}
wrong = [f"{what}: {sorted(map(str, names))}" for what, names in wanted.items() if names]
print("\n".join(wrong) or f"{wheel.name}: {len(modules)} files; {sdist.name}: {len(in_sdist)}")
sys.exit(bool(wrong))
