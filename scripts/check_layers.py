#!/usr/bin/env python3
"""Checks every #include "room/file.h" under src/ against docs/layers.txt, and that file names are unique."""
import os, re, sys
top = sys.argv[1] if len(sys.argv) > 1 else "."
allowed, bad, seen = {}, [], {}
for line in open(os.path.join(top, "docs/layers.txt")):
    line = line.split("#")[0].strip()
    if line:
        room, names = line.split(":")
        for n in names.split():
            if n not in allowed:
                bad.append("docs/layers.txt: %s names %s, which is not listed above it" % (room, n))
        allowed[room] = set(names.split()) | {room}
for folder, _, files in os.walk(os.path.join(top, "src")):
    for f in files:
        if not f.endswith((".c", ".h", ".def", ".inc")):
            continue
        path = os.path.relpath(os.path.join(folder, f), top)
        room = path.split(os.sep)[1]
        if room not in allowed:
            bad.append("%s: room %s is not in docs/layers.txt" % (path, room))
            continue
        if f in seen:
            bad.append("%s: the name %s is taken by %s" % (path, f, seen[f]))
        seen[f] = path
        for n, text in enumerate(open(os.path.join(folder, f), encoding="utf-8"), 1):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', text)
            if not m or "/" not in m.group(1):
                continue
            other = m.group(1).split("/")[0]
            if other == ".." or (other in allowed and other not in allowed[room]):
                bad.append("%s:%d: %s may not include %s" % (path, n, room, m.group(1)))
print("\n".join(bad) if bad else "layers: %d files, every include allowed" % len(seen))
sys.exit(1 if bad else 0)
