import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from ray import tune

from autoft.errors import ConfigError
from autoft.tuner.ray_space import with_distributions


@pytest.mark.parametrize(
    ("domain", "distribution"),
    [
        (tune.uniform(0, 0.3), FloatDistribution(0, 0.3)),
        (tune.quniform(0, 0.3, 0.1), FloatDistribution(0, 0.3, step=0.1)),
        (tune.loguniform(1e-5, 1e-2), FloatDistribution(1e-5, 1e-2, log=True)),
        (tune.randint(1, 5), IntDistribution(1, 4)),
        (tune.qrandint(2, 8, 2), IntDistribution(2, 8, step=2)),
        (tune.lograndint(1, 9), IntDistribution(1, 8, log=True)),
        (tune.choice(["adamw", "sgd"]), CategoricalDistribution(["adamw", "sgd"])),
        (IntDistribution(1, 2), IntDistribution(1, 2)),
    ],
)
def test_a_domain_becomes_the_distribution_that_ray_makes_of_it(domain, distribution):
    assert with_distributions({"a.b": domain}) == {"a.b": distribution}


@pytest.mark.parametrize(
    ("domain", "told"),
    [
        (tune.qloguniform(1e-4, 1e-1, 1e-4), "steps on a logarithmic scale cannot be drawn; give tune.uniform, "),
        (tune.randn(0, 1), "does not support .*Normal.*; give tune.uniform, "),
        (tune.sample_from(lambda: 1), "give tune.uniform, "),
    ],
)
def test_what_no_distribution_stands_for_is_told_with_its_path(domain, told):
    with pytest.raises(ConfigError, match=rf"^space\.a\.b: .*{told}"):
        with_distributions({"a.b": domain, "c": tune.uniform(0, 1)})
