import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from cosmos.cli import run_arguments
from cosmos.config.figures import direction_of
from cosmos.config.params import Params
from cosmos.errors import InputError
from cosmos.registry import commands as run_commands
from cosmos.registry import index as run_index
from cosmos.registry.table import format_cell_value, table_lines
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.results import Results
from cosmos.stages import pretrain_job
from tests.registry.run_files import keep_values, live, make_run, measure, provenance, take_part
from tests.stages.examples import ROOT, TINY, cosmos, environment


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs: one that has finished and was measured, one that runs, one that has just begun."""
    monkeypatch.chdir(tmp_path)
    done = make_run(tmp_path / "runs" / "base", tags=("cc3m", "first"))
    measure(done, 0.25)
    running = make_run(tmp_path / "runs" / "ema", epochs=2.0, momentum=0.9, tags=("ema",))
    provenance(running, "2026-07-21T10:00:00+00:00")
    live(running)
    young = make_run(tmp_path / "runs" / "sweep" / "trial-3", epochs=1.0, momentum=0.99)
    young.metrics.unlink()
    young.provenance.unlink()
    take_part(young, "running")
    return tmp_path / "runs"


def command(*arguments: str) -> None:
    run_arguments(["runs", *arguments])


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    command(*arguments)
    return capsys.readouterr().out


def json_output(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(output(capsys, *arguments, "--json"))


@pytest.mark.usefixtures("root")
class TestList:
    def test_the_newest_first_with_the_columns_that_any_has(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run_index, "seconds_silent", lambda lease: 0.5 if "/ema/" in lease else inf)
        assert output(capsys, "list").splitlines() == [
            "                                                       retrieval/",
            "                                                         heldout/",
            "                                                         teacher/",
            "name           status    heartbeat  step  loss  image_to_text_R@1  tags        started",
            "ema            running   0.5 s ago    10   2.5                  -  ema         2026-07-21 10:00",
            "base           finished          -    15   2.5               0.25  cc3m,first  2026-07-20 10:00",
            "sweep/trial-3  stopped           -     -     -                  -  -           -",
        ]

    def test_samples_that_a_run_did_without_have_columns(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = {"step": 20, "loss": 2.0, "samples_used": 393, "samples_listed": 400}
        with RunDir(root / "ema").metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        rows = output(capsys, "list").splitlines()
        assert [row.split()[0] for row in rows if "393             400" in row] == ["ema"]
        assert "samples_used  samples_listed" in rows[3]

    @pytest.mark.parametrize(
        ("where", "names"),
        [
            (["tag=cc3m"], ["base"]),
            (["status!=finished", "momentum>=0.9"], ["ema", "sweep/trial-3"]),
            (["status!=finished,momentum>=0.95"], ["sweep/trial-3"]),
            (["alive=true"], ["ema"]),
            (["teacher/image_to_text_R@1>0.2"], ["base"]),
            (["trial=3"], ["sweep/trial-3"]),
            (["name~trial"], ["sweep/trial-3"]),
            (["loss<1"], []),
        ],
    )
    def test_all_conditions_must_hold(
        self, where: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = [argument for text in where for argument in ("--where", text)]
        assert [row["name"] for row in json_output(capsys, "list", *asked)] == names

    def test_a_key_sorts_and_those_without_it_come_last(self, capsys: pytest.CaptureFixture[str]) -> None:
        def names(*sort: str) -> list[str]:
            return [row["name"] for row in json_output(capsys, "list", *sort)]

        assert names("--sort", "step") == ["ema", "base", "sweep/trial-3"]
        assert names("--sort=-step") == ["base", "ema", "sweep/trial-3"]
        assert names("--sort=-momentum", "--limit", "2") == ["sweep/trial-3", "base"]

    def test_columns_are_what_was_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = output(capsys, "list", "--columns", "name,pretrain.momentum,commit", "--sort", "name")
        assert [line.split() for line in shown.splitlines()] == [
            ["name", "pretrain.momentum", "commit"],
            ["base", "0.96", "c0ffee"],
            ["ema", "0.9", "c0ffee"],
            ["sweep/trial-3", "0.99", "-"],
        ]
        rows = json_output(capsys, "list", "--columns", "name", "--columns", "tags")
        assert rows == [
            {"name": "ema", "tags": ["ema"]},
            {"name": "base", "tags": ["cc3m", "first"]},
            {"name": "sweep/trial-3"},
        ]

    def test_what_is_not_shown_is_counted(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert output(capsys, "list", "--limit", "1").endswith("... and 2 more; `--limit 3` shows all\n")
        monkeypatch.setattr(run_commands, "MAX_TERMINAL_RUNS", 2)
        assert "more" not in output(capsys, "list")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert output(capsys, "list").endswith("... and 1 more; `--limit 3` shows all\n")
        assert "more" not in output(capsys, "list", "--limit", "3")
        assert len(json_output(capsys, "list")) == 3

    def test_figures_of_different_data_are_marked_with_it(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "@: " not in output(capsys, "list")
        RunDir(root / "base").result_file("retrieval").unlink()
        measure(RunDir(root / "base"), 0.25, "b" * 64)
        measure(RunDir(root / "ema"), 0.5, "a" * 64)
        *_, note = lines = output(capsys, "list").splitlines()
        assert any("0.25 @bbbbbbbb" in line for line in lines)
        assert any("0.5 @aaaaaaaa" in line for line in lines)
        assert note.startswith("@: figures of different data, which do not compare")
        by_hidden = output(capsys, "list", "--columns", "name", "--sort", "teacher/image_to_text_R@1")
        assert by_hidden.splitlines()[-1] == note
        key, data = "retrieval/heldout/teacher/image_to_text_R@1", "data/retrieval/heldout"
        asked = ("--columns", key, "--where", f"{data}~aaaa")
        assert json_output(capsys, "list", *asked) == [{key: 0.5, data: "a" * 64}]
        exported = json_output(capsys, "export", "two.csv", "--where", f"{key}>0", "--columns", key)
        assert exported["columns"] == [key, data]

    def test_where_no_run_matches_that_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert output(capsys, "list", "--where", "name=zzz") == "none of 3 runs matches\n"

    def test_names_of_strangers_do_not_steer_the_terminal(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_run(root / "red\x1b[31m", tags=("a\nb",))
        assert r"red\x1b[31m" in (shown := output(capsys, "list"))
        assert r"a\nb" in shown
        assert r"red\x1b[31m" in output(capsys, "show", "red\x1b[31m")
        with pytest.raises(ValueError, match="'momentun': no run has that"):
            command("list", "--where", "momentun=1")

    def test_a_damaged_run_says_what_cannot_be_read(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        RunDir(root / "base").labels.write_text("{")
        shown = output(capsys, "list", "--where", "problem~labels.json")
        assert "base" in shown
        assert "not a file of labels" in shown


@pytest.mark.parametrize("arguments", [["list"], ["list", "--where", "loss<1"]])
def test_an_empty_folder_is_told_with_what_to_do(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command(*arguments)
    assert "no runs in runs: `cosmos pretrain --run NAME` makes one" in capsys.readouterr().err
    assert json_output(capsys, *arguments) == []
    for other in (["best", "loss"], ["show", "one"], ["export", "runs.csv"]):
        with pytest.raises(ValueError, match="no runs in runs: `cosmos pretrain"):
            command(*other)


@pytest.mark.usefixtures("root")
class TestBest:
    def test_the_largest_is_best_of_recall_and_the_smallest_of_loss(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        measure(RunDir(root / "ema"), 0.5)
        shown = output(capsys, "best", "teacher/image_to_text_R@1").splitlines()
        assert shown[0] == "retrieval/heldout/teacher/image_to_text_R@1, the largest first"
        assert [line.split()[:3] for line in shown[-2:]] == [
            ["ema", "running", "0.5"],
            ["base", "finished", "0.25"],
        ]
        assert "loss, the smallest first" in output(capsys, "best", "loss")

    def test_a_winner_is_named_where_the_images_bear_it_and_otherwise_those_that_tie(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        figure = "classification/demo/teacher/top1"
        keep_values(RunDir(root / "base"), figure, [1] * 80 + [0] * 20)
        keep_values(RunDir(root / "ema"), figure, [1] * 78 + [0] * 22)
        shown = output(capsys, "best", "top1").splitlines()
        assert shown[-1].startswith("no winner at 95%: base leads, ema may be as good; about ")
        assert {"low", "high"} < set(" ".join(shown).split())
        keep_values(RunDir(root / "ema"), figure, [1] * 40 + [0] * 60)
        assert output(capsys, "best", "top1").splitlines()[-1] == (
            "base wins at 95%, over 100 images; by one seed, and another may differ"
        )
        first, second = json_output(capsys, "best", "top1")
        assert (first["low"], first["high"]) == pytest.approx((0.711, 0.867), abs=1e-3)
        assert second["p"] < 0.001
        assert "p" not in first

    @pytest.mark.parametrize(
        ("metric", "is_cost"),
        [
            ("loss", True),
            ("distill_image_to_text", True),
            ("seconds", True),
            ("device_seconds", True),
            ("samples_per_second", False),
            ("evaluation/teacher/heldout/image_to_text_mean_rank", True),
            ("evaluation/teacher/heldout/image_to_text_R@1", False),
            ("classification/demo/teacher/top1", False),
            ("segmentation/voc20/teacher/csa_mIoU", False),
        ],
    )
    def test_which_way_is_known_of_each_metric(self, metric: str, is_cost: bool) -> None:
        assert (direction_of(metric) == "min") == is_cost

    def test_only_runs_that_have_the_metric_compete(self, capsys: pytest.CaptureFixture[str]) -> None:
        def names(*arguments: str) -> list[str]:
            return [row["name"] for row in json_output(capsys, "best", *arguments)]

        assert names("step") == ["base", "ema"]
        assert names("step", "--smallest", "--limit", "1") == ["ema"]
        assert names("step", "--where", "status=running") == ["ema"]

    def test_figures_of_different_data_are_ranked_apart(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, recall, data in (("base", 0.9, "b" * 64), ("ema", 0.5, "a" * 64), ("late", 0.6, "a" * 64)):
            run = RunDir(root / name) if name != "late" else make_run(root / name)
            run.result_file("retrieval").unlink(missing_ok=True)
            measure(run, recall, data)
        shown = output(capsys, "best", "teacher/image_to_text_R@1", "--limit", "1")
        assert "of 2 versions of the data, which do not compare and are ranked apart" in shown
        ranked = [line.split()[0] for line in shown.splitlines() if line.startswith(("late", "base", "data"))]
        assert ranked == ["data", "late", "data", "base"]
        assert "data @aaaaaaaa" in shown
        command("best", "teacher/image_to_text_R@1", "--json")
        printed = capsys.readouterr()
        assert "ranked apart: @aaaaaaaa, @bbbbbbbb" in printed.err
        rows = [(row["name"], row["data/retrieval/heldout"][:2]) for row in json.loads(printed.out)]
        assert rows == [("late", "aa"), ("ema", "aa"), ("base", "bb")]

    def test_runs_measured_on_the_same_data_are_ranked_together_whosever_own_it_is(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, recall, data in (("base", 0.9, "a" * 64), ("ema", 0.5, "b" * 64)):
            RunDir(root / name).result_file("retrieval").unlink(missing_ok=True)
            measure(RunDir(root / name), recall, data)
        other = {"models": {"teacher": {"image_to_text_R@1": 0.2}}, "data_hash": "b" * 64, "own_data": False}
        Results(RunDir(root / "base").result_file("retrieval"), "retrieval").put("heldout", other)
        figure = "retrieval/heldout@bbbbbbbb/teacher/image_to_text_R@1"
        rows = json_output(capsys, "best", figure, "--columns", f"name,{figure}")
        assert [(row["name"], row[figure]) for row in rows] == [("ema", 0.5), ("base", 0.2)]

    def test_losses_of_different_training_data_are_ranked_apart_and_seconds_are_not(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        provenance(RunDir(root / "base"), train="b" * 64)
        assert "ranked apart: @bbbbbbbb, @12345678" in output(capsys, "best", "loss")
        assert "ranked apart" not in output(capsys, "best", "step")

    def test_the_end_of_a_key_means_the_runs_own_data(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        measure(RunDir(root / "base"), 0.7, "b" * 64)
        metrics = json_output(capsys, "show", "base")["metrics"]
        older = next(key for key in metrics if key.startswith("retrieval/heldout@"))
        (row,) = json_output(
            capsys, "best", "teacher/image_to_text_R@1", "--columns", "name", "--columns", older
        )
        assert row["name"] == "base"

    def test_a_parameter_is_no_metric(self) -> None:
        with pytest.raises(ValueError, match="'momentum': no run has that"):
            command("best", "momentum")


@pytest.mark.usefixtures("root")
class TestShow:
    def test_everything_in_sections(self, capsys: pytest.CaptureFixture[str]) -> None:
        titles = output(capsys, "show", "ema").split("\n\n")
        assert [section.splitlines()[0] for section in titles] == [
            "ema",
            "parameters that are not the defaults",
            "other parameters",
            "training data",
            "sessions",
            "training",
        ]
        assert titles[3].split()[2:] == [
            *("dataset.manifest", "12345678"),
            *("dataset.num_samples", "16"),
            *("dataset.num_shards", "2"),
        ]
        assert "1, 2026-07-21T10:00:00+00:00  commit: c0ffee" in titles[4]
        assert "  status     running\n" in titles[0]
        assert titles[1].splitlines()[1:] == ["  pretrain.momentum  0.9  (default: 0.96)"]
        *_, results, data = output(capsys, "show", "base").split("\n\n")
        assert results.startswith("results\n  retrieval/heldout/")
        assert data.startswith("data of the figures\n  retrieval/heldout  ")

    def test_the_same_for_programs(self, capsys: pytest.CaptureFixture[str]) -> None:
        shown = json_output(capsys, "show", "ema")
        assert (shown["name"], shown["status"], shown["tags"]) == ("ema", "running", ["ema"])
        assert shown["changed"] == {"pretrain.momentum": 0.9}
        assert shown["params"]["pretrain.epochs"] == 3
        assert shown["metrics"]["step"] == 10
        assert list(shown["sessions"]) == ["1, 2026-07-21T10:00:00+00:00"]

    def test_a_run_is_found_by_name_and_by_path(self, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("sweep/trial-3", "runs/sweep/trial-3"):
            assert json_output(capsys, "show", name)["name"] == "sweep/trial-3"

    @pytest.mark.parametrize(
        ("name", "near"),
        [("bsae", "base"), ("trial-3", "sweep/trial-3"), ("sweep", "sweep/trial-3")],
    )
    def test_a_name_that_is_none_is_told_with_those_near_it(self, name: str, near: str) -> None:
        with pytest.raises(ValueError, match=f"{name}: no run in runs; near it: {near}"):
            command("show", name)

    def test_parameters_of_other_code_count_as_changed(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = RunDir(root / "base")
        run.params.write_text(run.params.read_text() + "older: {knob: null}\n")
        assert json_output(capsys, "show", "base")["changed"] == {"older.knob": None}
        assert "  older.knob  none  (default: -)\n" in output(capsys, "show", "base")

    def test_a_run_that_this_user_may_not_enter_is_named(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        private = make_run(root / "private").path

        def refusing(call: Callable[..., Any], entry: str = "") -> Callable[..., Any]:
            def refuse(path: Any, **options: Any) -> Any:
                if private in Path(path, entry).absolute().parents:
                    raise PermissionError(errno.EACCES, "Permission denied", str(path))
                return call(path, **options)

            return refuse

        monkeypatch.setattr(os, "stat", refusing(os.stat))
        monkeypatch.setattr(os, "listdir", refusing(os.listdir, "any"))
        with pytest.raises(InputError, match=r"private: cannot be listed \(Permission denied\); change the"):
            command("show", "private")


@pytest.mark.usefixtures("root")
class TestExport:
    def test_csv_has_a_row_a_run_and_a_column_a_key(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert output(capsys, "export", "all.csv").startswith("all.csv: 3 runs, ")
        with Path("all.csv").open(newline="") as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
        assert list(rows) == ["base", "ema", "sweep/trial-3"]
        assert (rows["base"]["tags"], rows["base"]["alive"]) == ("cc3m,first", "false")
        assert rows["ema"]["pretrain.momentum"] == "0.9"
        assert rows["sweep/trial-3"]["loss"] == ""
        assert rows["base"]["retrieval/heldout/teacher/image_to_text_R@1"] == "0.25"

    def test_parquet_keeps_types(self, capsys: pytest.CaptureFixture[str]) -> None:
        json_output(capsys, "export", "all.parquet")
        exported = parquet.read_table("all.parquet")
        kinds = {
            key: str(exported.schema.field(key).type) for key in ("name", "alive", "pretrain.epochs", "loss")
        }
        assert kinds == {"name": "string", "alive": "bool", "pretrain.epochs": "int64", "loss": "double"}
        assert exported["loss"].to_pylist() == [2.5, 2.5, None]
        assert exported["pretrain.momentum"].to_pylist() == [0.96, 0.9, 0.99]

    def test_columns_of_several_types_are_text(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name, value in (
            ("base", "'auto'"),
            ("ema", "0.5"),
            ("sweep/trial-3", "123456789012345678901"),
        ):
            params = RunDir(root / name).params
            params.write_text(params.read_text() + f"older: {{knob: {value}}}\n")
        command("export", "all.parquet")
        exported = parquet.read_table("all.parquet")
        assert exported["older.knob"].to_pylist() == ["auto", "0.5", "123456789012345678901"]

    def test_conditions_and_columns_choose(self, capsys: pytest.CaptureFixture[str]) -> None:
        command("export", "some.csv", "--where", "status=finished", "--columns", "name,momentum")
        assert Path("some.csv").read_text().splitlines() == ["name,pretrain.momentum", "base,0.96"]

    def test_another_suffix_is_refused_before_anything_is_read(self) -> None:
        with pytest.raises(ValueError, match=r"all\.json: the name ends neither in \.csv nor in \.parquet"):
            command("export", "all.json")

    def test_nothing_is_written_where_nothing_matches_or_writing_fails(self) -> None:
        with pytest.raises(ValueError, match="none of 3 runs matches: there is nothing to export"):
            command("export", "all.csv", "--where", "name=zzz")
        with pytest.raises(ValueError, match="no run has that"):
            command("export", "all.csv", "--columns", "zzz")
        Path("all.csv").mkdir()
        with pytest.raises(OSError, match=r"all\.csv"):
            command("export", "all.csv")
        assert sorted(path.name for path in Path().iterdir()) == ["all.csv", "runs"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((15.0, "15"), (0.123456, "0.1235"), (12345.678, "12346"), (1e-5, "1e-05"), (2.5e20, "2.5e+20")),
        *((3, "3"), (True, "true"), (None, "none"), (("a", "b"), "a,b"), (-0.5, "-0.5"), (1e15, "1e+15")),
    ],
)
def test_values_are_short(value: Any, text: str) -> None:
    assert format_cell_value(value) == text


def test_numbers_stand_on_the_right_and_text_on_the_left() -> None:
    rows: Sequence[dict[str, Any]] = [{"a": 1.5, "b": "x"}, {"a": 10}, {"b": "long"}]
    assert table_lines(rows, ["a", "b"]) == ["  a  b", "1.5  x", " 10  -", "  -  long"]


class TestTags:
    """`cosmos pretrain --tags`: words that decide no result."""

    @pytest.fixture
    def labels(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunLabels]:
        """The labels that are there as each pretraining begins."""
        (tmp_path / "tiny.yaml").write_text(TINY)
        seen = list[RunLabels]()

        def begin(experiment: Any, machine: Any, path: Path, quiet: bool) -> dict[str, Any]:
            seen.append(RunLabels.of(RunDir(path)))
            return {}

        monkeypatch.chdir(ROOT)
        monkeypatch.setenv("COSMOS_RUNS_ROOT", str(tmp_path / "runs"))
        monkeypatch.setattr(pretrain_job, "launch_pretraining", begin)
        return seen

    def pretrain(self, folder: Path, *arguments: str) -> None:
        asked = ["pretrain", "--experiment", str(folder / "tiny.yaml"), "--run", "one", *arguments]
        run_arguments(asked)

    def test_they_are_there_when_training_begins_or_is_submitted(
        self, tmp_path: Path, labels: list[RunLabels]
    ) -> None:
        self.pretrain(tmp_path, "--tags", "ema, first try", "--tags", "cc3m,ema")
        assert labels == [RunLabels(tags=("ema", "first try", "cc3m"))]

    def test_going_on_keeps_them_unless_there_are_others(
        self, tmp_path: Path, labels: list[RunLabels]
    ) -> None:
        for tags in (["--tags", "a,b"], [], ["--tags", "c"], ["--tags", ""]):
            self.pretrain(tmp_path, *tags)
        assert [label.tags for label in labels] == [("a", "b"), ("a", "b"), ("c",), ()]

    def test_what_a_sweep_wrote_beside_them_stays(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        RunLabels("ema-1a2b3c4d", "pretrain", ("trial",)).write(run)
        pretrain_job.tag_run(
            run.path, Params(pretrain=Params().pretrain.model_copy(update={"epochs": 3})), ["mine"]
        )
        assert RunLabels.of(run) == RunLabels("ema-1a2b3c4d", "pretrain", ("mine",))

    def test_they_decide_no_result_and_a_dry_run_writes_none(
        self, tmp_path: Path, labels: list[RunLabels], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.pretrain(tmp_path, "--tags", "a", "--dry-run", "--json")
        assert "tags" not in json.loads(capsys.readouterr().out)["params"]
        assert not (tmp_path / "runs").exists()

    def test_a_run_with_other_parameters_is_not_tagged(self, tmp_path: Path, labels: list[RunLabels]) -> None:
        self.pretrain(tmp_path, "--tags", "a")
        with pytest.raises(ValueError, match="holds a run with other parameters"):
            self.pretrain(tmp_path, "--tags", "b", "--pretrain.epochs", "7")
        assert RunLabels.of(RunDir(tmp_path / "runs" / "one")).tags == ("a",)

    def test_another_rank_leaves_them_to_the_first(
        self, tmp_path: Path, labels: list[RunLabels], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RANK", "1")
        self.pretrain(tmp_path, "--tags", "a")
        assert labels == [RunLabels()]


def test_the_command_imports_nothing_heavy_and_ends_quietly_when_its_pipe_closes(root: Path) -> None:
    code = """
import sys
from cosmos.cli import main
main()
assert {"torch", "pyarrow", "pandas", "rich", "wandb", "optuna", "submitit"}.isdisjoint(sys.modules)
"""
    env = {**environment(root.parent), "PYTHONPATH": str(ROOT)}
    listing = [sys.executable, "-c", code, "runs", "list"]
    done = subprocess.run(listing, env=env, cwd=root.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sweep/trial-3" in done.stdout
    with subprocess.Popen(listing, env=env, cwd=root.parent, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert (process.stderr.read(), process.wait()) == ("", 0)


@pytest.mark.slow
def test_a_real_pretraining_is_tagged_and_listed_and_its_heart_stops_with_it(place: Path) -> None:
    trained = cosmos(place, "pretrain", "--run", "tagged", "--tags", "real")
    assert trained.returncode == 0, trained.stderr
    asked = [sys.executable, "-m", "cosmos", "runs", "list", "--where", "tag=real", "--json"]
    listed = subprocess.run(asked, cwd=ROOT, env=environment(place), capture_output=True, text=True)
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["status"], row["step"], row["alive"]) == (
        "tagged",
        "finished",
        15,
        False,
    )
    assert RunDir(place / "runs" / "tagged").lease.stat().st_mtime == 0
