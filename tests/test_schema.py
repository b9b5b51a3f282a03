"""The files that are edited by hand: each fault is refused with its line, its key, what was found
and what is expected."""

import re

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dndiv import techniques
from dndiv.paper import claims, commands, files, schema

CLAIMS, COEFFICIENTS, ASSUMPTIONS = files.CLAIMS, files.COEFFICIENTS, files.ASSUMPTIONS
LOADS = {CLAIMS: claims.load, COEFFICIENTS: schema.coefficients, ASSUMPTIONS: schema.assumptions}
LOADS[files.RATES] = schema.rates


@pytest.mark.parametrize("file", LOADS, ids=lambda file: file.name)
def test_what_is_committed_is_read_as_yaml_reads_it(file):
    assert LOADS[file](file) == yaml.safe_load(file.read_text("utf8"))


def test_every_rule_has_its_needs_and_schedules_are_the_library_s():
    assert set(schema.NEEDS) == set(claims.RULES)
    assert set(schema.SCHEDULES) == set(techniques.SCHEDULES)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("  published: 0.40", "  publihsed: 0.40", "early-40, a key: found 'publihsed', expected "),
        ("  published: 0.40", "  published: .nan", "published: found '.nan', expected a number"),
        ("  published: 0.40", "  published: .inf", "published: found '.inf', expected a number"),
        ("  published: 0.40", "  published: '0.40'", "found '0.40', expected a number"),
        ("  published: 0.40", "  published: about 40 %", "expected a number"),
        ("  published: 0.40", "  published:", "found '', expected a number"),
        ("  published: 0.40", "  published: [0.4]", "found a list, expected a number"),
        ("  published: 0.40", "  published: 0.4\n  published: 0.5", "published: found it twice"),
        ("\nescape:", "\nearly-40:", "early-40: found it twice, expected it once"),
        ("  table: early\n", "  table: erly\n", "table: found 'erly', expected one of directions,"),
        ("notebook: 06_early_epochs", "notebook: 06", "notebook: found '06', expected one of 00_"),
        ("  rule: early_accuracy", "  rule: guess", "rule: found 'guess', expected one of "),
        ("  rule: early_accuracy\n", "", "found only sentence, .*, expected also rule"),
        ("  treated: decorrelated\n", "", "expected also treated"),
        ("  controls:\n    He's scale: [decorrelated, equal_norms]", "  controls:\n    a: [b]",
         r"controls: a: found a list, expected a list of 2"),
        ("  margin: 0.01", "  margin: 0", "margin: found '0', expected a number from 1e-09"),
        ("  margin: 0.01", "  margin: -1", "margin: found '-1', expected a number"),
        ("  margin: 0.01", "  margin: {a: 1}", "margin, a key: found 'a', expected one of early a"),
        ("    early accuracy: 0.01\n", "", "margin: found only final.*expected also early accurac"),
        ("MNIST, shallow, SGD: no", "MNIST, shalow, SGD: no", "found 'MNIST, shalow, SGD', expect"),
        ("SGD: no practical effect", "SGD: no effect", "found 'no effect', expected one of reprod"),
        ("      reproduced: 8\n", "      reproduced: some\n", "reproduced: found 'some', expected"),
        ("      reproduced: 8\n", "      reproduced: 2.5\n", "found '2.5', expected a whole numbe"),
        ("  schedule: dynamic", "  schedule: dynamc", "schedule: found 'dynamc', expected one of "),
        ("    weight_cosine:\n", "    weight_cosin:\n", "a key: found 'weight_cosin', expected on"),
        ("  sentence: a deco", "  sentence: 40 #", "sentence: found '40', expected a text: write "),
        ("  sentence: a deco", "  sentence: [", "line [0-9]+: "),
        ("early-40:", "early-40: !!python/object/apply:os.system [ls]\nx:", "expected keys and va"),
        ("early-40:", "early-40: &a\n  b: *a\nx:", "found an alias, expected YAML"),
        ("early-40:", "early-40: x\n\ty: 1\nz:", "expected YAML"),
        ("early-40:", "- early-40\n", "expected"),
    ],
)  # fmt: skip
def test_a_fault_in_claims_yml_is_named_with_its_line(tmp_path, old, new, said):
    text = CLAIMS.read_text("utf8")
    file = tmp_path / "claims.yml"
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf8")
    with pytest.raises(ValueError, match=said) as error:
        claims.load(file)
    assert re.match(r"claims.yml, line \d+: ", str(error.value))
    line = int(str(error.value).split("line ")[1].split(":")[0])
    changed = text[: text.index(old)].count("\n") + 1
    assert abs(line - changed) <= 26 or "twice" in said  # of the entry that it is in


def test_a_start_that_does_not_compete_has_no_rate(tmp_path):
    file = tmp_path / "rates.yml"
    file.write_text("MNIST tiny sgd later:\n  decorelated: 0.1\n", "utf8")
    with pytest.raises(ValueError, match="found 'decorelated', expected one of default, "):
        schema.rates(file)


def test_a_line_is_the_line(tmp_path):
    (tmp_path / "x.yml").write_text(
        "# a\nlog_volume:\n  dynamic:\n    tiny sgd: 1e-5\n    tny: 1\n"
    )
    message = (
        "^x.yml, line 5: log_volume: dynamic, a key: found 'tny', expected setting and optimizer"
    )
    with pytest.raises(ValueError, match=message):
        schema.coefficients(tmp_path / "x.yml")


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "0.00001", ".00001"])
def test_a_number_may_be_written_as_people_write_it(tmp_path, text):
    (tmp_path / "x.yml").write_text(f"log_volume: {{dynamic: {{tiny sgd: {text}}}}}")
    found = schema.coefficients(tmp_path / "x.yml")["log_volume"]["dynamic"]["tiny sgd"]
    assert found == 1e-5


@pytest.mark.parametrize("content", [b"", b"# nothing", b"\xff\xfe", b"a: 1\n---\nb: 1", b"\0"])
@pytest.mark.parametrize("load", LOADS.values())
def test_what_is_no_such_file_is_refused_by_its_name(tmp_path, content, load):
    (tmp_path / "x.yml").write_bytes(content)
    with pytest.raises(ValueError, match="^x.yml.*: .*expected"):
        load(tmp_path / "x.yml")


def test_deep_nesting_is_refused(tmp_path):
    (tmp_path / "x.yml").write_text("[" * 5000)
    with pytest.raises(ValueError, match="^x.yml.*: .*expected"):
        schema.assumptions(tmp_path / "x.yml")


def test_an_arm_that_the_table_has_not_is_named_with_those_that_it_has():
    claim = claims.load()["early-40"] | {"treated": "decorelated"}
    from dndiv.paper import tables

    table = tables.read("early", "reference")
    with pytest.raises(
        ValueError, match="'early-40' asks for .*decorelated.*has the arms default, "
    ):
        claims.judge("early-40", table, claim)


def test_the_command_says_it_in_a_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "claims.yml"
    file.write_text("early-40:\n  sentence: x\n  margin: .nan\n")
    monkeypatch.setattr(files, "CLAIMS", file)
    assert commands.main(["check", "--preset", "reference"]) == 1
    said = (
        "dndiv: claims.yml, line 3: early-40: margin: found '.nan', expected a number from 1e-09 on"
    )
    assert capsys.readouterr().err == f"{said}\n"


TOKENS = [*":-[]{}#&*!|>'\"%@`,?\t\n ", ".nan", "1e-5", "yes", "~", "<<", "\xa0", "☃", "0x1", "- "]
edits = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 40),
    st.one_of(st.sampled_from(TOKENS), st.text(max_size=5), st.just("")),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([COEFFICIENTS, ASSUMPTIONS, CLAIMS]), st.lists(edits, min_size=1, max_size=3)
)
@example(COEFFICIENTS, [(0.3, 3, "1e-5")])
def test_any_edit_is_read_or_refused_by_name(tmp_path, file, edited):
    text = file.read_text("utf8")
    start = text.index("\nescape:") if file == CLAIMS else text.index("\n", len(text) // 2)
    text = text[start:]  # the whole takes longer to read than there is to be found
    for place, length, new in edited:
        at = int(place * len(text))
        text = text[:at] + new + text[at + length :]
    other = tmp_path / file.name
    other.write_text(text, "utf8", "surrogatepass")
    try:
        found = LOADS[file](other)
    except ValueError as error:
        assert re.match(rf"{file.name}(, line \d+)?: .*expected", str(error), re.DOTALL), error
        assert len(str(error).splitlines()) <= 3
        return
    assert isinstance(found, list if file == ASSUMPTIONS else dict) and found
    if file == COEFFICIENTS:
        values = [v for t in found.values() for s in t.values() for v in s.values()]
        assert all(0 <= v < float("inf") for v in values)
