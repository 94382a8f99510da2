"""``python -m autoft`` is the command line."""

from autoft.cli.main import run

if __name__ == "__main__":
    run()
