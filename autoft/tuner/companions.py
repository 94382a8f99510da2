"""Companions: the head stages that trials to come are likely to begin with, to be trained beside the first of them."""

from autoft.recipe import Recipe
from autoft.space import DeclaredSpace, SearchSpace
from autoft.tuner.policy import Policy
from autoft.tuner.sampler_kinds import STARTUP_TRIALS

_MOST = 64
_KNOWN = {"random": _MOST, "grid": 1}
"""Proposals that are known beforehand, by sampler; a grid's later ones depend on what it gave before."""


def likely_head_stages(policy: Policy, space: SearchSpace, sampler: str) -> tuple[Recipe, ...]:
    """Recipes that open with a stage of the head alone: the baselines, the portfolio, and what the sampler will draw
    before it knows anything. A function that draws is not called for it: it is the caller's.

    Args:
        policy: of the search.
        space: what the sampler draws from.
        sampler: its name; one that models its draws is only asked for the first, which are random.
    """
    found = [recipe for _, recipe in policy.first_in_line][: policy.num_samples]
    if isinstance(space, DeclaredSpace):
        count = min(policy.num_samples - len(found), _KNOWN.get(sampler, STARTUP_TRIALS))
        numbers = range(len(found), len(found) + max(0, count))
        proposals = (policy.sampler.propose((), number) for number in numbers)
        found += [Recipe.parse(proposal.recipe, where="space") for proposal in proposals if proposal]
    return tuple(recipe for recipe in found if recipe.stages[0].head_only and recipe.stages[0].fit == "steps")
