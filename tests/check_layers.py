#!/usr/bin/env python3
"""Checks every #include "module/..." against vm/layers.txt: a file may include only from its own
module and from modules listed above it. Public headers may include only public headers and the
standard library."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
layers = [line.strip() for line in (root / "vm/layers.txt").read_text().splitlines()
          if line.strip() and not line.startswith("#")]


def module_of(path):
    """The longest layer that is a prefix of path, or None."""
    found = [m for m in layers if path == m or path.startswith(m + "/")]
    return max(found, key=len) if found else None


errors = []
files = 0
for module in layers:
    for file in sorted((root / module).rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.suffix not in (".hpp", ".cpp", ".h", ".c", ".def") or module_of(name) != module:
            continue
        files += 1
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            quoted, target = match.group(1) == '"', match.group(2)
            if module == "vm/include":
                if quoted or ("/" in target and not target.startswith(("skep/", "sys/"))):
                    errors.append(f"{name}:{number}: a public header includes {target}")
                continue
            if not quoted:
                continue
            wanted = module_of(target)
            if wanted is None:
                if not (file.parent / target).exists():
                    errors.append(f"{name}:{number}: {target} is in no module")
            elif layers.index(wanted) > layers.index(module):
                errors.append(f"{name}:{number}: {module} may not include {wanted} ({target})")

if files == 0:
    errors.append("no source file was found")
print("\n".join(errors) if errors else f"{files} files keep to the layers")
sys.exit(1 if errors else 0)
