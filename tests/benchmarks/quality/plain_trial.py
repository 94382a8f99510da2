"""A trial of the baseline: a staged fine-tune in plain torch, one epoch per step."""

from pathlib import Path

import numpy as np
import torch
from network import correct, network, parts_of, ready
from ray import tune
from torch.nn.functional import cross_entropy

HEAD_EPOCHS, BATCH = 3, 32
HEADS = {
    "gentle": (1e-3, 1e-4, 0.0),
    "steady": (3e-3, 1e-4, 0.0),
    "quick": (1e-2, 1e-4, 0.0),
    "damped": (3e-3, 1e-2, 0.2),
}
"""Rate, weight decay and drop rate of the head stage."""


class FineTune(tune.Trainable):
    """Head first, then the top groups; one epoch per step."""

    def setup(self, config, *, data=None, out=None, seed=0):
        """Called once per process; trials come by `reset_config`."""
        torch.set_num_threads(1)
        (images, labels, splits), self.out, self.seed = data, Path(out), seed
        self.sets = {name: (images[splits == name], labels[splits == name]) for name in ("train", "val")}
        self.reset_config(config)

    def reset_config(self, new_config):
        """Begin a trial."""
        self.config, self.best = new_config, -1.0
        self.classes = int(self.sets["train"][1].max()) + 1
        torch.manual_seed(self.seed)
        self.model = network(self.classes)
        self.parts, self.head = parts_of(self.model)
        self._stage(depth=0)
        return True

    def _stage(self, depth):
        config = self.config
        rate, decay, drop = HEADS[config["head"]]
        if depth or self.iteration >= HEAD_EPOCHS:
            rate, decay, drop = config["head_lr"], config["weight_decay"], config["dropout"]
        self.first, self.model.drop_rate = len(self.parts) - depth, drop
        for parameter in self.model.parameters():
            parameter.requires_grad = False
        trained = [(module, config.get("lr", 0.0)) for part in self.parts[self.first :] for module in part]
        groups = []
        for module, own_rate in [*trained, (self.head, rate)]:
            for parameter in module.parameters():
                parameter.requires_grad = True
                groups.append(
                    {"params": [parameter], "lr": own_rate, "weight_decay": decay if parameter.ndim > 1 else 0.0}
                )
        self.optimizer = torch.optim.AdamW(groups)

    def _modes(self):
        """Frozen groups in eval mode; the norms of trained ones as the recipe has it."""
        self.model.train()
        for place, part in enumerate(self.parts):
            for module in part:
                module.train(place >= self.first)
        if self.config.get("norm") == "eval":
            for module in self.model.modules():
                if "Norm" in type(module).__name__:
                    module.eval()

    def _forward(self, batch):
        with torch.no_grad():
            for part in self.parts[: self.first]:
                for module in part:
                    batch = module(batch)
        for part in self.parts[self.first :]:
            for module in part:
                batch = module(batch)
        return self.model.forward_head(batch)

    def step(self):
        """One epoch, and the accuracy on the validation part; the best weights of the trial are kept."""
        if self.iteration == HEAD_EPOCHS:
            self._stage(self.config["depth"])
        images, labels = self.sets["train"]
        order = np.random.default_rng((self.seed, self.iteration)).permutation(len(labels))
        self._modes()
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            outputs = self._forward(ready(images[chosen]))
            loss = cross_entropy(outputs, torch.from_numpy(labels[chosen]))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        accuracy = float(np.mean(correct(self.model, *self.sets["val"])))
        kept = ""
        if accuracy > self.best:
            self.best, kept = accuracy, str(self.out / f"{self.trial_id}-{self.iteration}.pt")
            torch.save(self.model.state_dict(), kept)
        return {"accuracy": accuracy, "kept": kept}

    def save_checkpoint(self, checkpoint_dir):
        """The incumbents are kept by `step`."""

    def load_checkpoint(self, checkpoint):
        """Nothing is restored."""
