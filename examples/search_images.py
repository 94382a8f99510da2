"""Search a recipe from Python, look at the trials, and fine-tune by the recipe that won.

python examples/search_images.py --num-samples 8 --time-budget-s 180
"""

import argparse
from pathlib import Path

import autoft


def main() -> None:
    """Search, show, replay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits", help="or a folder with one folder per class")
    parser.add_argument("--num-samples", type=int, default=8)
    parser.add_argument("--time-budget-s", type=float, default=180.0)
    parser.add_argument("--image-size", type=int, default=48)
    parser.add_argument("--storage-path", type=Path, default=Path("runs"))
    options = parser.parse_args()

    result = autoft.search(
        model="tf_efficientnet_lite0",
        data=options.data,
        num_samples=options.num_samples,
        time_budget_s=options.time_budget_s,
        name="search_images",
        storage_path=options.storage_path,
        overrides={"data.image_size": options.image_size},
    )
    print(result.trials_dataframe()[["trial", "state", "reason", "value", "epochs"]].to_string(index=False))
    print(f"best {result.summary['metric']}: {result.summary['best_value']:.4f}, on the test split: {result.test}")

    recipe = result.best_recipe
    print("stages:", ", ".join(f"{stage.name} unfreezes {stage.unfreeze}" for stage in recipe.stages))
    recipe.save(options.storage_path / "search_images.yaml")

    fitted = autoft.fine_tune(autoft.Recipe.load(options.storage_path / "search_images.yaml"), data=options.data)
    print(f"replayed: {fitted.value:.4f}, exactly the same: {fitted.reproduced}")


if __name__ == "__main__":
    main()
