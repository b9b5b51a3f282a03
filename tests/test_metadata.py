"""The files that others read: citation, archives, checklists, and what opens the repository
elsewhere."""

import json
import re
import stat
import subprocess
import tomllib

import pytest
import yaml

import dndiv
from dndiv.paper import metadata
from dndiv.paper.files import ROOT

KNOWN_DOI = "10.1007/978-3-030-86340-1_19"
TEXTS = (
    *("CITATION.cff", "codemeta.json", ".zenodo.json", "codecheck.yml"),
    *("docs/checklists.md", "docs/data.md", "docs/elsewhere.md"),
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def text(name):
    return (ROOT / name).read_text("utf8")


def test_the_version_stands_in_one_place():
    project = tomllib.loads(text("pyproject.toml"))
    assert "version" in project["project"]["dynamic"] and "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "dndiv.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", dndiv.__version__)
    found = {
        "CITATION.cff": yaml.safe_load(text("CITATION.cff"))["version"],
        "codemeta.json": json.loads(text("codemeta.json"))["version"],
        ".zenodo.json": json.loads(text(".zenodo.json"))["version"],
    }
    assert found == dict.fromkeys(found, dndiv.__version__)


def test_they_describe_the_same_software_and_have_what_is_required():
    cff, zenodo = yaml.safe_load(text("CITATION.cff")), json.loads(text(".zenodo.json"))
    codemeta = json.loads(text("codemeta.json"))
    assert {"cff-version", "message", "title", "authors"} <= set(cff)
    assert {"@context", "@type", "name", "author", "license"} <= set(codemeta)
    assert {"upload_type", "title", "creators", "description"} <= set(zenodo)
    assert cff["title"] == zenodo["title"] and cff["keywords"] == zenodo["keywords"]
    assert cff["license"] == zenodo["license"] == codemeta["license"].rsplit("/")[-1] == "MIT"
    names = [{a["name"] for a in part}
             for part in (cff["authors"], zenodo["creators"], codemeta["author"])]  # fmt: skip
    assert names[0] == names[1] == names[2] and names[0].pop() in text("LICENSE")
    core = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    assert codemeta["softwareRequirements"] == [re.match(r"\w+", line)[0] for line in core]


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_invented_that_only_a_person_can_give(name):
    found = re.findall(r"10\.\d{4,}/[^\s\"',)|]+", text(name))
    assert set(found) <= {KNOWN_DOI}
    assert "orcid.org" not in text(name) and "github.com" not in text(name)


def test_the_manifest_is_of_what_the_reference_holds():
    assert text("codecheck.yml") == metadata.codecheck()  # or else: make report
    listed = {entry["file"]: entry["comment"]
              for entry in yaml.safe_load(text("codecheck.yml"))["manifest"]}  # fmt: skip
    folder = ROOT / "results" / "reference"
    there = {
        p
        for part in ("tables", "figures")
        for p in (folder / part).iterdir()
        if ".narrow." not in p.name
    }
    there |= {folder / "claims.json"}
    assert set(listed) == {p.relative_to(ROOT).as_posix() for p in there}
    assert all(len(comment) > 20 for comment in listed.values())


@pytest.mark.parametrize("name", [n for n in TEXTS if n.endswith(".md")])
def test_links_of_the_documents_lead_somewhere_and_tables_are_whole(name):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text(name)):
        assert (ROOT / name).parent.joinpath(target).exists(), target
    for block in re.findall(r"(?:^\|.*\n)+", text(name), flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_every_line_of_the_checklists_says_whether_it_is_met():
    parts = re.split(r"^## ", text("docs/checklists.md"), flags=re.MULTILINE)[2:]
    assert [p.split("\n")[0].split(" (")[0] for p in parts] == [
        *("ReScience C", "CODECHECK", "JOSS", "ACM badges")
    ]
    for part in parts:
        rows = [[c.strip() for c in line.strip("|").split("|")]
                for line in part.splitlines() if line.startswith("|")]  # fmt: skip
        at = rows[0].index("met")
        assert len(rows) > 6
        for row in rows[2:]:
            assert row[at] in ("yes", "no", "in part", "person", "does not apply"), row
            assert row[at] in ("person", "does not apply") or row[-1], row  # where, or why not


# --------------------------------------------------------------------------------- elsewhere
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_is_formed_as_github_wants_it(path):
    flow = yaml.safe_load(path.read_text("utf8"))
    on = flow.pop(True)  # YAML 1.1 reads `on` as a truth value
    assert set(on) <= {"push", "pull_request", "workflow_dispatch", "schedule", "release"}
    assert set(flow) <= {"name", "permissions", "concurrency", "env", "defaults", "jobs"}
    assert flow["permissions"] == {"contents": "read"}  # no more than it needs
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), flags=re.MULTILINE))
    for job in flow["jobs"].values():
        assert {"runs-on", "steps", "timeout-minutes"} <= set(job)
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))
            for line in step.get("run", "").splitlines():
                program, target, *_ = line.split()
                assert program == "make" and target in targets


def test_the_workflow_goes_from_lint_to_a_kept_report_on_two_systems():
    [job] = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"].values()
    assert job["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest"]
    ran = " ".join(step.get("run", "") for step in job["steps"])
    order = [ran.index(w) for w in ("setup", "lint", "make test ", "test-browser", "PRESET=smoke")]
    assert order == sorted(order)
    kept = job["steps"][-1]
    assert "upload-artifact" in kept["uses"] and "results/smoke/report.html" in kept["with"]["path"]


def test_issue_forms_ask_for_what_they_name():
    forms = [yaml.safe_load(p.read_text("utf8"))
             for p in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")]  # fmt: skip
    assert sum("body" in form for form in forms) >= 2
    for form in (f for f in forms if "body" in f):
        assert {"name", "description", "body"} <= set(form)
        assert len({field["id"] for field in form["body"]}) == len(form["body"])
        for field in form["body"]:
            assert field["type"] in ("textarea", "input", "dropdown", "checkboxes")
            assert field["attributes"]["label"]


def test_binder_has_the_lock_an_exact_python_and_installs_the_package():
    assert re.fullmatch(r"python-3\.\d+\n", text("binder/runtime.txt"))
    python = text("binder/runtime.txt").strip().removeprefix("python-")
    assert f"python-version {python}" in text("Makefile")  # the lock is made for it
    [line] = [li for li in text("binder/requirements.txt").splitlines() if not li.startswith("#")]
    assert (ROOT / "binder" / line.removeprefix("-r ")).resolve() == ROOT / "requirements.lock"
    script = ROOT / "binder" / "postBuild"
    assert script.stat().st_mode & stat.S_IXUSR and script.read_bytes().startswith(b"#!")
    assert "--no-deps" in script.read_text() and script.read_text().strip().endswith("-e .")
    assert subprocess.run(["bash", "-n", script]).returncode == 0


def test_the_container_makes_the_environment_that_its_editor_uses():
    container = json.loads(text(".devcontainer/devcontainer.json"))
    assert container["postCreateCommand"] == "make setup"
    settings = container["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"].endswith("/.venv/bin/python")
    assert re.search(r"python:3\.\d+$", container["image"])
