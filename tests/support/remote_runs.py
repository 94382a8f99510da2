"""A run's folder as a search leaves it, in small."""

import sqlite3
from contextlib import closing


def write_run(folder, *, trials=2, text="search"):
    """What a search leaves, in small: needed files, results, checkpoints, a study."""
    (folder / "search.yaml").write_text(f"{text}\n")
    (folder / "split.json").write_text("{}\n")
    (folder / "best_recipe.yaml").write_text(f"{text}: best\n")
    for number in range(trials):
        checkpoint = folder / f"trials/{number:04d}/checkpoint"
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "checkpoint-000001.json").write_text(f"{text} {number}")
    with closing(sqlite3.connect(folder / "study.db")) as database:
        database.execute("create table if not exists trials (number)")
        database.execute("delete from trials")
        database.executemany("insert into trials values (?)", [(number,) for number in range(trials)])
        database.commit()


def trials_in(folder):
    with closing(sqlite3.connect(folder / "study.db")) as database:
        return [number for (number,) in database.execute("select number from trials order by number")]


def content(folder):
    """The files of a run but for its study, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith((".", "study.db"))
    }
