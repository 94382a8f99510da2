import json

import pytest
import typer

from autoft.cli.edge import guarded
from autoft.cli.groups import groups


def shown(capsys, *arguments):
    app = typer.Typer()
    app.command()(groups)
    assert guarded(lambda: app(list(arguments), standalone_mode=False)) == 0
    return capsys.readouterr().out


@pytest.fixture
def card(capsys):
    return json.loads(shown(capsys, "resnet18", "--image-size", "64", "--json"))


def test_json_has_the_groups_from_input_to_head(card):
    assert card["name"] == "resnet18"
    assert card["depth"] == len(card["groups"]) - 1
    assert card["groups"][-1]["num_parameters"] == 512 * 1000 + 1000
    assert sum(group["num_parameters"] for group in card["groups"]) == 11_689_512
    assert sum(group["cost_share"] for group in card["groups"]) == pytest.approx(1.0)


def test_the_table_has_a_row_per_group_and_what_unfreezes_it(card, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    lines = shown(capsys, "resnet18", "--image-size", "64").splitlines()
    for position, group in enumerate(card["groups"]):
        (row,) = (line.split() for line in lines if line.split()[:1] == [group["name"]])
        assert row[1] == str(card["depth"] - position)
        assert row[3] == f"{group['num_parameters']:,}"
    assert any("11,689,512" in line for line in lines)
