"""checks.py: what tests of the command line share.

    from checks import attempt, check, run
    r = run("embed", "-m", model, "--json", stdin="a text\n")      must end with 0, or with want=CODE
    r = attempt("embed", "-m", "nowhere.gguf", NG_CPU="ref")       may end as it likes
    check("one line of JSON", r.stdout.count("\n") == 1, r)
    sys.exit(check.done())

Where input is bytes, output is bytes."""
import os
import subprocess

NANOGRID = os.path.abspath(os.environ.get("NANOGRID", "build/nanogrid"))


class Checks:
    """check("what", condition, shown when it fails); exit(done()) at the end."""
    def __init__(self):
        self.n, self.failed, self.skipped = 0, 0, []

    def __call__(self, what, ok, shown=""):
        assert isinstance(what, str), "check(what, condition): what comes first"
        self.n += 1
        if not ok:
            self.failed += 1
            print("FAILED %s: %s" % (what, str(shown)[:2000]), flush=True)

    def skip(self, why):
        self.skipped.append("NOT CHECKED: " + why)

    def done(self):
        print("\n".join(self.skipped + ["%d checks, %d failed" % (self.n, self.failed)]))
        return 1 if self.failed else 0


check = Checks()


def attempt(*args, stdin="", timeout=1200, cwd=None, limits=None, **env):
    """Runs nanogrid with `env` set beside the environment; the caller judges what came of it."""
    return subprocess.run([NANOGRID, *map(str, args)], input=stdin, capture_output=True, text=isinstance(stdin, str),
                          env={**os.environ, **env}, timeout=timeout, cwd=cwd, preexec_fn=limits)


def run(*args, want=0, says=None, **more):
    """The same, and checks its exit code, and that stderr holds what it `says`."""
    r = attempt(*args, **more)
    told = r.stderr if isinstance(r.stderr, str) else r.stderr.decode(errors="replace")
    line = "nanogrid " + " ".join(map(str, args))
    check("%s: exit %d" % (line, want), r.returncode == want, "exit %d: %s" % (r.returncode, told[-400:]))
    if says is not None:
        check("%s: says %r" % (line, says), says in told, told)
    return r


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
