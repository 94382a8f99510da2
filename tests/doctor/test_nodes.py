"""The nodes of a cluster: what they answer is read, and compared."""

import json

import pytest

from autoft.doctor import Level, Report, agreement, report_of
from autoft.doctor.finding import ok, warning

VERSIONS = {"python": "3.11.2", "autoft": "0.1.0", "ray": "2.60.0", "torch": "2.14.1"}


def report(node, **versions):
    return Report(node, (ok("disk", "fine"),), VERSIONS | versions)


def test_a_report_comes_back_as_it_was_sent():
    sent = Report("there", (ok("disk", "fine"), warning("gpu", "busy", "wait")), VERSIONS)
    output = "a word of somebody else\n" + json.dumps({"nodes": [sent.plain()], "cluster": []}) + "\n"
    assert report_of("there", output, "") == sent
    assert sent.level is Level.WARNING


@pytest.mark.parametrize(
    ("output", "trouble", "text", "remedy"),
    [
        ("", "/usr/bin/python: No module named autoft", "there is no autoft", "pip install autoft"),
        ("", "error: No such command 'doctor'; see autoft --help", "is older", "the same version"),
        ("", "no answer within 60 s", "no answer within 60 s", "look at the node"),
        ("", "Traceback (most recent call last):\n  ...\nOSError: disk\n", "OSError: disk", "look at the node"),
        ("not JSON", "", "not JSON", "look at the node"),
        ('{"nodes": []}', "", "nodes", "look at the node"),
        ("", "", "no answer", "look at the node"),
    ],
)
def test_a_node_that_does_not_answer_is_an_error_with_a_remedy(output, trouble, text, remedy):
    (finding,) = report_of("there", output, trouble).findings
    assert finding.level is Level.ERROR
    assert text in finding.text
    assert remedy in finding.remedy


def test_nodes_of_one_version_agree():
    assert [finding.level for finding in agreement([report("a"), report("b")])] == [Level.OK]


@pytest.mark.parametrize(
    ("name", "level"),
    [("ray", Level.ERROR), ("python", Level.ERROR), ("autoft", Level.ERROR), ("torch", Level.WARNING)],
)
def test_nodes_that_differ_are_named(name, level):
    (finding,) = agreement([report("a"), report("b"), report("c", **{name: "9.9"}), report_of("d", "", "gone")])
    assert finding.level is level
    assert finding.text == f"{name} differs: {VERSIONS[name]} on a, b; 9.9 on c"
