#!/usr/bin/env python3
"""check_symbols.py SOURCE BUILD: every global symbol of our archives begins with ng_, every function that a public header
marks NG_API is defined, and libnanogrid asks for nothing of a network library."""
import os, re, subprocess, sys
top, build = sys.argv[1:3]
def nm(archive, *flags):
    out = subprocess.run(["nm", *flags, os.path.join(build, archive)], capture_output=True, text=True).stdout
    return {line.split()[-1] for line in out.splitlines() if line and not line.endswith(":")}
archives = [a for a in ("libnanogrid.a", "libnanogrid-tools.a") if os.path.exists(os.path.join(build, a))]
bad, defined = [], set()
for a in archives:
    symbols = {s for s in nm(a, "-g", "--defined-only") if not s.startswith(("__", "_"))}
    bad += ["%s: the symbol %s lacks the prefix ng_" % (a, s) for s in sorted(symbols) if not s.startswith("ng_")]
    defined |= symbols
for folder, _, files in os.walk(os.path.join(top, "include")):
    for f in files:
        text = re.sub(r"/\*.*?\*/", "", open(os.path.join(folder, f)).read(), flags=re.S)
        for m in re.finditer(r"NG_API\s[^;{]*?\b(ng_\w+)\s*\(", text):
            if m.group(1) not in defined:
                bad.append("%s: %s is declared NG_API and defined nowhere" % (f, m.group(1)))
wanted = nm("libnanogrid.a", "-u")
bad += ["libnanogrid.a needs %s of a network library" % s for s in sorted(wanted) if re.match(r"curl_|MHD_|socket$|connect$", s)]
print("\n".join(bad) if bad else "symbols: %d, all prefixed, all NG_API defined" % len(defined))
sys.exit(1 if bad else 0)
