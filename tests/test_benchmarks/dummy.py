"""A contender for the tests of the harness: it squares numbers, or does what its variant says."""

import os

from serve import Work, serve


def squares(setting, data):
    variant = setting["variant"]
    if variant == "refuses":
        raise RuntimeError("no such device")
    calls = []

    def measure():
        if variant == "dies" and calls:
            os._exit(7)
        calls.append(variant)
        print("what a library prints is no answer")
        return {"twice": 2.0, "thrice": 3.0}.get(variant, 1.0) * len(calls)

    wrong = 1e-3 if variant == "wrong" else 0.0
    return Work(measure=measure, check=lambda: {"squares": data["x"] ** 2 + wrong}, notes={"calls": calls})


if __name__ == "__main__":
    serve({"squares": squares}, lambda: {"dummy": "1.0"})
